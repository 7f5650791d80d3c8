"""A measure's figure with everything that says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digan.metrics.inception_score import inception_score
from digan.metrics.measures import FRECHET, KERNEL, Measure
from digan.metrics.spread import Extrapolation, Interval, bootstrap, extrapolate, mean_and_std
from pipelines.detectors import Detector
from pipelines.evaluation.reference_features import Reference

Array = NDArray[np.float64]
EXTRAPOLATED = 64  # clips that an extrapolation needs at least


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One measure: ``draws`` of the trained generator, ``floor`` of real clips, ``untrained`` generator (one draw; nan:
    none), the bootstrap ``interval`` of the first draw, and the value at infinitely many clips.
    """

    draws: tuple[float, ...]
    floor: float
    untrained: float
    interval: Interval | None = None
    infinite: Extrapolation | None = None

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return float(np.mean(self.draws))

    @property
    def spread(self) -> float:
        """Standard deviation of the figure: over the draws, or of the bootstrap where that is larger."""
        known = [mean_and_std(self.draws)[1], self.interval.std if self.interval else math.nan]
        return max((value for value in known if not math.isnan(value)), default=math.nan)

    def to_json(self) -> dict[str, float]:
        """mean, std (over draws, n - 1; 0 for one draw), spread, low and high (95 %, about the mean), floor, untrained,
        ratio_to_untrained, infinite and its fit. What is not known is left out.
        """
        found = {"mean": self.mean, "std": mean_and_std(self.draws)[1] if len(self.draws) > 1 else 0.0}
        found["spread"] = self.spread
        if self.interval is not None:
            shift = self.mean - self.draws[0]
            found |= {"low": self.interval.low + shift, "high": self.interval.high + shift}
            found["bootstrap_std"] = self.interval.std
        found["floor"] = self.floor
        found["untrained"] = self.untrained
        found["ratio_to_untrained"] = self.mean / self.untrained if self.untrained else math.nan
        if self.infinite is not None:
            fit = self.infinite
            found |= {"infinite": fit.infinite, "infinite_error": fit.error, "infinite_r2": fit.r2}
            found["infinite_trusted"] = float(fit.trusted)
        return {key: value for key, value in found.items() if not math.isnan(value)}


def figures_of(
    detector: Detector, real: Reference, fakes: Sequence[Array], untrained: Array | None, *, videos: int, seed: int
) -> dict[str, Figures]:
    """The detector's measures by name: distances with their spread, or the Inception Score."""
    if detector.measure == "inception_score":
        scores = [inception_score(features) for features in fakes]
        first = inception_score(untrained)[0] if untrained is not None else math.nan
        return {detector.metric_name: Figures(draws=tuple(mean for mean, _ in scores), floor=math.nan, untrained=first)}
    rows = len(fakes[0]) // videos * min(videos, len(real.reals))
    reals, floor = real.reals[:rows], real.floor[:rows]

    def figures(measure: Measure, sure: bool) -> Figures:
        statistics = measure.statistics(reals)
        enough = sure and min(len(reals), len(fakes[0])) >= EXTRAPOLATED
        return Figures(
            draws=tuple(measure.value(statistics, measure.statistics(fake)) for fake in fakes),
            floor=measure.value(statistics, measure.statistics(floor)),
            untrained=math.nan if untrained is None else measure.value(statistics, measure.statistics(untrained)),
            interval=bootstrap(measure, reals, fakes[0], seed=seed) if sure else None,
            infinite=extrapolate(measure, reals, fakes[0], seed=seed) if enough else None,
        )

    return {detector.metric_name: figures(FRECHET, True), detector.kernel_name: figures(KERNEL, False)}


def described(detector: Detector, real_index: dict[str, Any]) -> dict[str, Any]:
    """What a figure was measured with and on, for JSON."""
    return {
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "data_digest": real_index["data_digest"],
    }
