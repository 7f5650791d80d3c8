"""The measurement of a training: all snapshots at quick counts, then the best one at full counts with every detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digan import generator_io
from digan.errors import UserError
from pipelines.dataset import loader
from pipelines.evaluation import embedding, reference_features
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.feature_cache import FeatureCache
from pipelines.evaluation.figures import figures_of
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult, MetricSummary
from pipelines.evaluation.snapshot_curve import Embedder, Snapshot, curve, snapshots
from pipelines.report.progress_display import ProgressDisplay


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The result, the curve's rows (clips_seen, value, low, high), the best snapshot, the features of the real clips, and
    those of the best snapshot's first draw.
    """

    result: EvaluationResult
    curve: list[dict[str, float]]
    best: Snapshot
    real: ReferenceFeatures
    fakes: NDArray[np.float64]


def measure(
    config: EvaluationConfig, runner: embedding.Executor, *, train: Path, reference: Path, shards_folder: Path
) -> Measurement:
    """Measure the training in ``train`` against the features in ``reference`` of the clips in ``shards_folder``."""
    index = loader.read_index(shards_folder)
    protocol, quick = config.measured_by(), config.curve()
    found = snapshots(train)
    _check_resolution(found, index.resolution)
    initial = train / "initial_generator"
    untrained_snapshot = Snapshot(folder=initial, clips_seen=0, digest=embedding.generator_digest(initial))
    frames = protocol.frames_of(index.frames)
    embedder = Embedder(
        config=config, frames=frames, available=index.frames, cache=FeatureCache(config.cache), runner=runner
    )
    all_detectors = reference_features.all_detectors(config)
    detector, extra_detectors = all_detectors[0], all_detectors[1:]
    real = reference_features.require(reference, shards_folder, config, detector)
    rows = curve(found, embedder, detector, real.reference, min(quick.videos, len(real.reference)))
    best = found[min(range(len(rows)), key=lambda number: rows[number]["value"])]

    metrics: dict[str, MetricSummary] = {}
    first_draw = real.reference[:0]
    progress = ProgressDisplay("evaluate", len(all_detectors) * (protocol.draws + 1) * protocol.videos)
    for one in all_detectors:
        draws = [
            embedder.features(best, one, draw=draw, videos=protocol.videos, progress=progress)
            for draw in range(protocol.draws)
        ]
        untrained = embedder.features(untrained_snapshot, one, draw=0, videos=protocol.videos, progress=progress)
        own = real
        if one is detector:
            first_draw = draws[0]
        elif one.measure == "frechet":
            own = reference_features.require(reference, shards_folder, config, one)
        metrics |= figures_of(one, own, draws, untrained, videos=protocol.videos, seed=config.seed)
    progress.finish()
    result = EvaluationResult(
        metric=detector.metric_name,
        metrics=metrics,
        clips_seen=best.clips_seen,
        generator=best.folder.as_posix(),
        weights_digest=best.digest,
        protocol=protocol.name,
        protocol_text=protocol.text(frames),
        videos=protocol.videos,
        draws=protocol.draws,
        curve_videos=quick.videos,
        frames=frames,
        resolution=index.resolution,
        seed=config.seed,
        truncation=config.truncation,
        is_stand_in=detector.is_stand_in,
        **detector.described(index.digest),
        extra_detectors={one.network: one.described(index.digest) for one in extra_detectors},
    )
    return Measurement(result=result, curve=rows, best=best, real=real, fakes=first_draw)


def _check_resolution(found: list[Snapshot], resolution: int) -> None:
    made = generator_io.load_generator(found[-1].folder).config.resolution
    if made != resolution:
        raise UserError(
            f"{found[-1].folder}: makes {made} pixels, the shards hold {resolution}; train on these shards first"
        )
