"""Features to figures: a detector's metrics with everything that says how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from digan.metrics.feature_metrics import FRECHET, KERNEL, FeatureMetric
from digan.metrics.inception_score import inception_score
from digan.metrics.uncertainty import bootstrap, extrapolate
from pipelines.detectors import Detector
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import MetricSummary

Array = NDArray[np.float64]
EXTRAPOLATED = 64  # clips that an extrapolation needs at least


def figures_of(
    detector: Detector,
    real: ReferenceFeatures,
    fakes: Sequence[Array],
    untrained: Array | None,
    *,
    videos: int,
    seed: int,
) -> dict[str, MetricSummary]:
    """The detector's metrics by name: distances to ``real``, or the Inception Score. ``fakes`` has the features of each draw."""
    if detector.measure == "inception_score":
        first = math.nan if untrained is None else inception_score(untrained)[0]
        scores = [inception_score(features)[0] for features in fakes]
        return {detector.metric_name: MetricSummary.of(scores, untrained=first)}
    rows = len(fakes[0]) // videos * min(videos, len(real.reference))
    reference, real_vs_real = real.reference[:rows], real.real_vs_real[:rows]

    def summary(measure: FeatureMetric) -> MetricSummary:
        statistics = measure.statistics(reference)
        enough = measure.has_interval and min(len(reference), len(fakes[0])) >= EXTRAPOLATED
        return MetricSummary.of(
            [measure.value(statistics, measure.statistics(fake)) for fake in fakes],
            real_vs_real=measure.value(statistics, measure.statistics(real_vs_real)) if len(real_vs_real) else math.nan,
            untrained=math.nan if untrained is None else measure.value(statistics, measure.statistics(untrained)),
            interval=bootstrap(measure, reference, fakes[0], seed=seed) if measure.has_interval else None,
            infinite=extrapolate(measure, reference, fakes[0], seed=seed) if enough else None,
        )

    return {detector.metric_name: summary(FRECHET), detector.kernel_name: summary(KERNEL)}
