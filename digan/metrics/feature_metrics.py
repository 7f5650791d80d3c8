"""One interface for every measure: features -> mergeable float64 statistics -> figure.

``measure.statistics(features)`` can be taken of any part of the videos, anywhere; ``a.merge(b)`` joins parts in any
grouping; ``measure.value(real, fake)`` is the figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics import inception_score
from digan.metrics.features import from_features
from digan.metrics.frechet import frechet_distance
from digan.metrics.kernel import kernel_distance


class Statistics(Protocol):
    """What can be joined with statistics of other videos."""

    def merge(self, other: Self) -> Self:
        """Statistics of both sets together."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """The features themselves [N, D]: what a kernel distance needs, since its sums run over all pairs."""

    features: NDArray[np.float64]

    def merge(self, other: FeatureSet) -> FeatureSet:
        """Both sets, one after the other."""
        if self.features.shape[1:] != other.features.shape[1:]:
            raise UserError(
                f"features of widths {self.features.shape[1]} and {other.features.shape[1]}: use one detector for both"
            )
        return FeatureSet(features=np.concatenate([self.features, other.features]))


@dataclass(frozen=True, kw_only=True)
class FeatureMetric:
    """``statistics`` of features [N, D]; ``value`` of two of them; ``sign`` is 1 where lower is better, else -1.

    ``minimum`` is the least value. A metric that ``has_interval`` gets a bootstrap interval and an extrapolation.
    """

    name: str
    sign: int
    statistics: Callable[[NDArray[np.floating]], Any]
    value: Callable[[Any, Any], float]
    minimum: float = -np.inf
    has_interval: bool = False

    def of(self, real: NDArray[np.floating], fake: NDArray[np.floating]) -> float:
        """The figure of two whole sets of features."""
        return self.value(self.statistics(real), self.statistics(fake))


def _sample(features: NDArray[np.floating]) -> FeatureSet:
    return FeatureSet(features=np.asarray(features, dtype=np.float64))


FRECHET = FeatureMetric(
    name="frechet", sign=1, statistics=from_features, value=frechet_distance, minimum=0.0, has_interval=True
)
KERNEL = FeatureMetric(
    name="kernel", sign=1, statistics=_sample, value=lambda real, fake: kernel_distance(real.features, fake.features)
)
INCEPTION_SCORE = FeatureMetric(
    name="inception_score",
    sign=-1,
    statistics=inception_score.from_logits,
    value=lambda _real, fake: float(fake.score),
)
MEASURES = {metric.name: metric for metric in (FRECHET, KERNEL, INCEPTION_SCORE)}
