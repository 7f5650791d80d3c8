"""Uncertainty of metrics: bootstrap intervals, extrapolation to infinitely many clips, and comparisons.

Legend: N real and M generated clips, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics.feature_metrics import FeatureMetric

RESAMPLES = 100
LEVEL = 0.95
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Confidence interval from ``low`` to ``high`` at ``level``, and the standard deviation of the resampled values."""

    low: float
    high: float
    std: float
    level: float
    resamples: int


def bootstrap(
    metric: FeatureMetric, real: Array, fake: Array, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Bootstrap interval of ``metric.of(real, fake)``: resamples the clips of both sets with replacement (Efron, 1979).

    A resample has fewer distinct clips, which biases distances upwards; so the resampled values' deviations from their own
    mean are centered on the metric's value.
    """
    if min(len(real), len(fake)) < 2:
        raise UserError(f"{min(len(real), len(fake))} clips: an interval needs 2 or more; give more videos")
    random = np.random.default_rng(seed)
    value = metric.of(real, fake)
    values = np.empty(resamples)
    for i in range(resamples):
        chosen = random.integers(len(real), size=len(real)), random.integers(len(fake), size=len(fake))
        values[i] = metric.of(real[chosen[0]], fake[chosen[1]])
    deviations = values - values.mean()
    low, high = np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        low=max(value + float(low), metric.minimum),
        high=value + float(high),
        std=float(values.std(ddof=1)),
        level=level,
        resamples=resamples,
    )


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The fit ``value = infinite + slope / n`` of values at ``counts`` clips (Chong and Forsyth, 2020).

    ``error`` is the standard error of ``infinite``, ``r2`` the coefficient of determination. ``trusted`` is false if the
    smallest count is below twice the number of features, where a Frechet distance is not yet linear in 1/n.
    """

    infinite: float
    slope: float
    error: float
    r2: float
    trusted: bool
    counts: tuple[int, ...]
    values: tuple[float, ...]


def extrapolate(
    metric: FeatureMetric, real: Array, fake: Array, *, seed: int, points: int = 8, repeats: int = 2
) -> Extrapolation:
    """The metric's value at infinitely many clips: a linear fit over 1/n of values for subsets of n clips.

    n goes from a quarter to all clips. Both sets shrink together, so that the bias of both is removed.
    """
    most = min(len(real), len(fake))
    if most < 2 * points:
        raise UserError(f"{most} clips: an extrapolation over {points} counts needs {2 * points} or more")
    random = np.random.default_rng(seed)
    counts = np.unique(np.round(1 / np.linspace(4 / most, 1 / most, points)).astype(int))
    values = np.array([_mean_at(metric, real, fake, int(n), repeats, random) for n in counts])
    inverse = 1 / counts
    centered = inverse - inverse.mean()
    slope = float((centered * values).sum() / (centered**2).sum())
    infinite = float(values.mean() - slope * inverse.mean())
    residuals = values - infinite - slope * inverse
    noise = float((residuals**2).sum()) / max(len(counts) - 2, 1)
    total = float(((values - values.mean()) ** 2).sum())
    return Extrapolation(
        infinite=infinite,
        slope=slope,
        error=float(np.sqrt(noise * (1 / len(counts) + inverse.mean() ** 2 / (centered**2).sum()))),
        r2=1 - float((residuals**2).sum()) / total if total > 0 else 1.0,
        trusted=bool(counts[0] >= 2 * real.shape[1]),
        counts=tuple(int(n) for n in counts),
        values=tuple(float(v) for v in values),
    )


def _mean_at(
    metric: FeatureMetric, real: Array, fake: Array, count: int, repeats: int, random: np.random.Generator
) -> float:
    found = []
    for _ in range(repeats):
        chosen = random.choice(len(real), count, replace=False), random.choice(len(fake), count, replace=False)
        found.append(metric.of(real[chosen[0]], fake[chosen[1]]))
    return float(np.mean(found))


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (nan for a single value)."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), std


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The ``difference`` of two values (negative: the first is lower) and its standard deviation ``spread``."""

    difference: float
    spread: float
    margin: float

    @property
    def is_significant(self) -> bool:
        """Whether the absolute difference exceeds ``margin`` times the spread."""
        return bool(abs(self.difference) > self.margin * self.spread)

    @property
    def text(self) -> str:
        """The result in words."""
        verb = "is more than" if self.is_significant else "is not more than"
        return (
            f"the difference of {abs(self.difference):.3g} {verb} {self.margin:g} times its spread of {self.spread:.2g}"
        )


def compare(first: float, second: float, *, spreads: tuple[float, float], margin: float) -> Comparison:
    """Compare two values by their standard deviations ``spreads``; an unknown one (nan) counts as 0."""
    variances = [0.0 if np.isnan(s) else s**2 for s in spreads]
    return Comparison(difference=first - second, spread=float(np.sqrt(sum(variances))), margin=margin)
