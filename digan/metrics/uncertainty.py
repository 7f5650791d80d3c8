"""How sure a figure is: bootstrap intervals from features, and the value at infinitely many samples.

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
    """``low`` to ``high`` holds the figure with chance ``level``; ``std`` is the standard deviation of the resampled figure."""

    low: float
    high: float
    std: float
    level: float
    resamples: int


def bootstrap(
    metric: FeatureMetric, real: Array, fake: Array, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Interval of ``measure.of(real, fake)`` by drawing clips of both sets again, with repetition (Efron 1979).

    A resample has fewer different clips than the sample, so its distance is too large; therefore the spread of the
    resampled figures around their own mean is laid around the figure itself.
    """
    if min(len(real), len(fake)) < 2:
        raise UserError(f"{min(len(real), len(fake))} clips: an interval needs 2 or more; give more videos")
    random = np.random.default_rng(seed)
    figure = metric.of(real, fake)
    values = np.empty(resamples)
    for i in range(resamples):
        chosen = random.integers(len(real), size=len(real)), random.integers(len(fake), size=len(fake))
        values[i] = metric.of(real[chosen[0]], fake[chosen[1]])
    around = values - values.mean()
    low, high = np.quantile(around, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        low=max(figure + float(low), metric.minimum),
        high=figure + float(high),
        std=float(values.std(ddof=1)),
        level=level,
        resamples=resamples,
    )


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The straight line ``value = infinite + slope / n`` through figures at ``counts`` clips (Chong and Forsyth 2020).

    ``error`` is the standard error of ``infinite`` in the fit, ``r2`` the share of the variance that the line explains.
    ``trusted`` is false where the smallest count is below twice the number of features: there a Frechet distance does not
    run along 1/n yet.
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
    """The figure at infinitely many clips: subsets of n clips of both sets, n from a quarter to all, fitted over 1/n.

    Both sets shrink together, so that the bias of both leaves the figure.
    """
    most = min(len(real), len(fake))
    if most < 2 * points:
        raise UserError(f"{most} clips: an extrapolation over {points} counts needs {2 * points} or more")
    random = np.random.default_rng(seed)
    counts = np.unique(np.round(1 / np.linspace(4 / most, 1 / most, points)).astype(int))
    values = np.array([_mean_at(metric, real, fake, int(n), repeats, random) for n in counts])
    inverse = 1 / counts
    centred = inverse - inverse.mean()
    slope = float((centred * values).sum() / (centred**2).sum())
    infinite = float(values.mean() - slope * inverse.mean())
    rest = values - infinite - slope * inverse
    noise = float((rest**2).sum()) / max(len(counts) - 2, 1)
    total = float(((values - values.mean()) ** 2).sum())
    return Extrapolation(
        infinite=infinite,
        slope=slope,
        error=float(np.sqrt(noise * (1 / len(counts) + inverse.mean() ** 2 / (centred**2).sum()))),
        r2=1 - float((rest**2).sum()) / total if total > 0 else 1.0,
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
    """Mean and standard deviation (n - 1; nan for a single value)."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), std


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``difference`` of two figures (negative: the first is lower) beside its standard deviation ``spread``."""

    difference: float
    spread: float
    margin: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is larger than ``margin`` times the spread."""
        return bool(abs(self.difference) > self.margin * self.spread)

    @property
    def text(self) -> str:
        """In words."""
        verb = "is more than" if self.is_significant else "is not more than"
        return (
            f"the difference of {abs(self.difference):.3g} {verb} {self.margin:g} times its spread of {self.spread:.2g}"
        )


def compare(first: float, second: float, *, spreads: tuple[float, float], margin: float) -> Comparison:
    """Two figures with a standard deviation each; a spread that is not known (nan) counts as 0."""
    variances = [0.0 if np.isnan(s) else s**2 for s in spreads]
    return Comparison(difference=first - second, spread=float(np.sqrt(sum(variances))), margin=margin)
