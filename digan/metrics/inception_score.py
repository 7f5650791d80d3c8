"""Inception Score (Salimans et al. 2016): exp of the mean divergence of p(y|x) from p(y), by mergeable sums.

Legend: N videos, K classes. Higher is better: sure of each video, and different for different ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError

SPLITS = 10  # of the published protocol (spec 'Evaluation')


@dataclass(frozen=True, kw_only=True)
class ClassStatistics:
    """``count`` N, the sum of p(y|x) [K], and the sum of p(y|x) log p(y|x) over videos and classes."""

    count: int
    total: NDArray[np.float64]
    certainty: float

    def merge(self, other: ClassStatistics) -> ClassStatistics:
        """Statistics of both sets together."""
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
    """Statistics of a classifier's logits [N, K]; values that are not finite are refused."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise UserError(f"logits of shape {values.shape}: expected [videos, classes] with 1 video or more")
    if not np.isfinite(values).all():
        raise UserError("logits are not finite; the videos or the classifier's weights are damaged")
    shifted = values - values.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    chances = np.exp(logs)
    return ClassStatistics(
        count=len(values), total=chances.sum(axis=0), certainty=float(_log_weighted(chances, logs).sum())
    )


def inception_score(logits: NDArray[np.floating], splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation (n, as published) over ``splits`` successive parts of the videos."""
    values = np.asarray(logits)
    if len(values) < splits:
        raise UserError(f"{len(values)} videos: an Inception Score over {splits} splits needs {splits} or more")
    scores = [from_logits(part).score for part in np.array_split(values, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _log_weighted(chances: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """p log p, 0 where p is 0."""
    return np.where(chances > 0, chances * logs, 0.0)
