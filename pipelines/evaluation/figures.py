"""Features to figures: a detector's metrics with everything that says how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from digan.metrics.inception_score import inception_score
from digan.metrics.measures import FRECHET, KERNEL, Measure
from digan.metrics.spread import bootstrap, extrapolate
from pipelines.detectors import Detector
from pipelines.evaluation.reference_features import Reference
from pipelines.evaluation.result import MetricSummary

Array = NDArray[np.float64]
EXTRAPOLATED = 64  # clips that an extrapolation needs at least


def figures_of(
    detector: Detector, real: Reference, fakes: Sequence[Array], untrained: Array | None, *, videos: int, seed: int
) -> dict[str, MetricSummary]:
    """The detector's metrics by name: distances to ``real``, or the Inception Score. ``fakes`` has the features of each draw."""
    if detector.measure == "inception_score":
        first = math.nan if untrained is None else inception_score(untrained)[0]
        scores = [inception_score(features)[0] for features in fakes]
        return {detector.metric_name: MetricSummary.of(scores, untrained=first)}
    rows = len(fakes[0]) // videos * min(videos, len(real.reals))
    reals, floor = real.reals[:rows], real.floor[:rows]

    def summary(measure: Measure) -> MetricSummary:
        statistics = measure.statistics(reals)
        enough = measure.has_interval and min(len(reals), len(fakes[0])) >= EXTRAPOLATED
        return MetricSummary.of(
            [measure.value(statistics, measure.statistics(fake)) for fake in fakes],
            floor=measure.value(statistics, measure.statistics(floor)) if len(floor) else math.nan,
            untrained=math.nan if untrained is None else measure.value(statistics, measure.statistics(untrained)),
            interval=bootstrap(measure, reals, fakes[0], seed=seed) if measure.has_interval else None,
            infinite=extrapolate(measure, reals, fakes[0], seed=seed) if enough else None,
        )

    return {detector.metric_name: summary(FRECHET), detector.kernel_name: summary(KERNEL)}
