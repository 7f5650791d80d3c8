"""Inception Score (Salimans et al., 2016): exp of the mean KL divergence of p(y|x) from p(y), by mergeable sums.

Higher is better: confident and diverse predictions. Legend: N videos, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError

SPLITS = 10  # as in Salimans et al., 2016


@dataclass(frozen=True, kw_only=True)
class ClassStatistics:
    """``count`` N, the sum of p(y|x) [K], and the sum of p(y|x) log p(y|x) over videos and classes."""

    count: int
    total: NDArray[np.float64]
    certainty: float

    def merge(self, other: ClassStatistics) -> ClassStatistics:
        """Statistics of both sets."""
        if self.total.shape != other.total.shape:
            raise UserError(f"{self.total.size} and {other.total.size} classes: use one classifier for both")
        return ClassStatistics(
            count=self.count + other.count,
            total=self.total + other.total,
            certainty=self.certainty + other.certainty,
        )

    @property
    def score(self) -> float:
        """The Inception Score, from 1 to K."""
        marginal = self.total / self.count
        entropy = -float(np.sum(_log_weighted(marginal, np.log(np.where(marginal > 0, marginal, 1)))))
        return float(np.exp(self.certainty / self.count + entropy))


def from_logits(logits: NDArray[np.floating]) -> ClassStatistics:
    """Statistics of a classifier's logits [N, K]; raises ``UserError`` if some are not finite."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise UserError(f"logits of shape {values.shape}: expected [videos, classes] with 1 video or more")
    if not np.isfinite(values).all():
        raise UserError("logits are not finite; the videos or the classifier's weights are damaged")
    shifted = values - values.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    probabilities = np.exp(logs)
    return ClassStatistics(
        count=len(values), total=probabilities.sum(axis=0), certainty=float(_log_weighted(probabilities, logs).sum())
    )


def inception_score(logits: NDArray[np.floating], splits: int = SPLITS) -> tuple[float, float]:
    """Mean and population standard deviation of the score over ``splits`` successive parts of the videos."""
    values = np.asarray(logits)
    if len(values) < splits:
        raise UserError(f"{len(values)} videos: an Inception Score over {splits} splits needs {splits} or more")
    scores = [from_logits(part).score for part in np.array_split(values, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _log_weighted(probabilities: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """p log p, 0 where p is 0."""
    return np.where(probabilities > 0, probabilities * logs, 0.0)
