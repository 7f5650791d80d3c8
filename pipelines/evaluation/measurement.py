"""The measurement of a training: all snapshots at quick counts, then the best one at full counts, on other seeds, with every detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digan import generator_io
from digan.errors import UserError
from digan.metrics.feature_metrics import FRECHET, INCEPTION_SCORE, KERNEL, METRICS, FeatureMetric
from digan.metrics.inception_score import inception_score
from digan.metrics.uncertainty import bootstrap, extrapolate
from pipelines.dataset import loader
from pipelines.detectors import Detector
from pipelines.evaluation import reference_features
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Embedder, Executor, Snapshot
from pipelines.evaluation.protocols import EvaluationProtocol
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult, MetricSummary
from pipelines.evaluation.snapshot_curve import curve, snapshots
from pipelines.report.progress_display import ProgressDisplay

Array = NDArray[np.float64]
CHOICE = "snapshot chosen on other seeds"  # part of the protocol, which earlier versions did not have
EXTRAPOLATED = 64  # clips that an extrapolation needs at least


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """``curve`` has rows of clips_seen, value, low and high; ``generated`` are features of the best snapshot's first draw."""

    result: EvaluationResult
    curve: list[dict[str, float]]
    best: Snapshot
    real: ReferenceFeatures
    generated: Array


def measure(
    config: EvaluationConfig, executor: Executor, *, train: Path, reference_folder: Path, shards_folder: Path
) -> Measurement:
    """Measure the training in ``train`` against the features in ``reference_folder`` of the clips in ``shards_folder``."""
    index = loader.read_index(shards_folder)
    protocol, quick = config.measured_by(), config.curve()
    found = snapshots(train)
    made = generator_io.load_generator(found[-1].folder).config.resolution
    if made != index.resolution:
        problem = f"makes {made} pixels, the shards hold {index.resolution}; train on these shards first"
        raise UserError(f"{found[-1].folder}: {problem}")
    untrained = Snapshot.of(train / "initial_generator")
    frames = protocol.frames_of(index.frames)
    embedder = Embedder(config=config, executor=executor)
    detector, *extra_detectors = detectors = reference_features.all_detectors(config)
    real = reference_features.require(reference_folder, shards_folder, config, detector)
    rows = curve(found, embedder, detector, real.reference[: quick.videos], index.frames)
    best = min(zip(rows, found, strict=True), key=lambda measured: measured[0]["value"])[1]

    metrics: dict[str, MetricSummary] = {}
    generated: list[Array] = []  # by detector: the best snapshot's first draw
    progress = ProgressDisplay("evaluate", len(detectors) * (protocol.draws + 1) * protocol.videos)
    embedder = replace(embedder, progress=progress)
    for one in detectors:
        *draws, initial = (
            embedder.generated(snapshot, one, draw=draw, videos=protocol.videos, available=index.frames).features
            for snapshot, draw in [*((best, draw) for draw in range(protocol.draws)), (untrained, 0)]
        )
        compared = real
        if one is not detector and one.measure == "frechet":
            compared = reference_features.require(reference_folder, shards_folder, config, one)
        metrics |= metrics_of(one, compared, draws, initial, videos=protocol.videos, seed=config.seed)
        generated.append(draws[0])
    progress.finish()
    how = conditions(detector, protocol, frames=frames, seed=config.seed, data_digest=index.digest)
    how["protocol_text"] += f", {CHOICE}"
    result = EvaluationResult(
        metrics=metrics,
        clips_seen=best.clips_seen,
        generator=best.folder.as_posix(),
        weights_digest=best.digest,
        curve_videos=quick.videos,
        resolution=index.resolution,
        truncation=config.truncation,
        extra_detectors={one.network: one.described(index.digest) for one in extra_detectors},
        **how,
    )
    return Measurement(result=result, curve=rows, best=best, real=real, generated=generated[0])


def metrics_of(
    detector: Detector,
    real: ReferenceFeatures,
    generated: Sequence[Array],
    untrained: Array | None = None,
    *,
    videos: int,
    seed: int,
) -> dict[str, MetricSummary]:
    """The detector's metrics by name: distances to ``real``, or the Inception Score.

    ``generated`` has the features of each draw's ``videos`` videos, ``untrained`` those before training.
    """
    if detector.measure == "inception_score":
        initial = math.nan if untrained is None else inception_score(untrained)[0]
        return {detector.metric_name: MetricSummary.of([inception_score(x)[0] for x in generated], untrained=initial)}
    first = generated[0]
    rows = len(first) // videos * min(videos, len(real.reference))
    reference, real_vs_real = real.reference[:rows], real.real_vs_real[:rows]

    def summary(metric: FeatureMetric) -> MetricSummary:
        statistics = metric.statistics(reference)

        def distance(features: Array | None) -> float:
            if features is None or not len(features):
                return math.nan
            return metric.value(statistics, metric.statistics(features))

        extrapolated = metric.has_interval and min(len(reference), len(first)) >= EXTRAPOLATED
        return MetricSummary.of(
            [distance(features) for features in generated],
            real_vs_real=distance(real_vs_real),
            untrained=distance(untrained),
            interval=bootstrap(metric, reference, first, seed=seed) if metric.has_interval else None,
            infinite=extrapolate(metric, reference, first, seed=seed) if extrapolated else None,
        )

    names = {FRECHET.name: detector.metric_name, KERNEL.name: detector.kernel_name}
    distances = [metric for metric in METRICS.values() if metric is not INCEPTION_SCORE]
    return {names.get(each.name, f"{each.name}_{detector.network}"): summary(each) for each in distances}


def conditions(
    detector: Detector, protocol: EvaluationProtocol, *, frames: int, seed: int, data_digest: str
) -> dict[str, Any]:
    """The fields of an ``EvaluationResult`` that say how and with what it was measured."""
    counts = {"videos": protocol.videos, "draws": protocol.draws, "frames": frames, "seed": seed}
    names = {"metric": detector.metric_name, "protocol": protocol.name, "protocol_text": protocol.text(frames)}
    return {**names, **counts, "is_stand_in": detector.is_stand_in, **detector.described(data_digest)}
