"""The table of metrics on features, ``METRICS``, with one interface: features -> mergeable float64 statistics -> value.

``metric.statistics(features)`` can be computed for any part of the clips, ``a.merge(b)`` joins parts in any grouping, and
``metric.value(real, fake)`` is the metric's value. To add a metric, declare a ``FeatureMetric`` and add it to ``METRICS``.
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
    """Statistics that can be merged with those of other clips."""

    def merge(self, other: Self) -> Self:
        """Statistics of both sets."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """The features themselves, [N, D]: the statistics of the kernel distance, which sums over all pairs."""

    features: NDArray[np.float64]

    def merge(self, other: FeatureSet) -> FeatureSet:
        """Both sets, concatenated."""
        if self.features.shape[1:] != other.features.shape[1:]:
            raise UserError(
                f"features of widths {self.features.shape[1]} and {other.features.shape[1]}: use one detector for both"
            )
        return FeatureSet(features=np.concatenate([self.features, other.features]))


@dataclass(frozen=True, kw_only=True)
class FeatureMetric:
    """A metric: ``statistics`` of features [N, D], and its ``value`` from those of real and fake features.

    ``sign`` is 1 if lower is better, else -1; ``minimum`` is the lowest possible value. With ``has_interval``, a bootstrap
    interval and an extrapolation are computed too.
    """

    name: str
    sign: int
    statistics: Callable[[NDArray[np.floating]], Any]
    value: Callable[[Any, Any], float]
    minimum: float = -np.inf
    has_interval: bool = False

    def of(self, real: NDArray[np.floating], fake: NDArray[np.floating]) -> float:
        """The value for two sets of features [N, D] and [M, D]."""
        return self.value(self.statistics(real), self.statistics(fake))


def _feature_set(features: NDArray[np.floating]) -> FeatureSet:
    return FeatureSet(features=np.asarray(features, dtype=np.float64))


FRECHET = FeatureMetric(
    name="frechet", sign=1, statistics=from_features, value=frechet_distance, minimum=0.0, has_interval=True
)
KERNEL = FeatureMetric(
    name="kernel",
    sign=1,
    statistics=_feature_set,
    value=lambda real, fake: kernel_distance(real.features, fake.features),
)
INCEPTION_SCORE = FeatureMetric(
    name="inception_score",
    sign=-1,
    statistics=inception_score.from_logits,
    value=lambda _real, fake: float(fake.score),
)
METRICS = {metric.name: metric for metric in (FRECHET, KERNEL, INCEPTION_SCORE)}
