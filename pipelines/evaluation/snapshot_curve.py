"""The quick metric of a training's snapshots: all of them for the curve, or one generator for a sweep's objective."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics.feature_metrics import FRECHET
from digan.metrics.uncertainty import bootstrap
from digan.models.generator import VideoGenerator
from pipelines.detectors import Detector
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import CHOICE_DRAW, Embedder, Snapshot, embed_generated, seeds_of
from pipelines.report.progress_display import ProgressDisplay

Array = NDArray[np.float64]
RESAMPLES = 50  # of the interval of a curve's point


def snapshots(train: Path) -> list[Snapshot]:
    """All snapshots of the training in ``train`` by clips seen; its last generator is among them, once."""
    folders = [path for path in (train / "snapshots").glob("*") if path.name.isdigit()]
    found = [Snapshot.of(path, int(path.name)) for path in sorted(folders) if (path / "weights.pt").is_file()]
    last = train / "generator"
    if not (last / "weights.pt").is_file() or not (last / "config.json").is_file():
        raise UserError(f"{last}: no generator there; run python -m pipelines.train first")
    clips_seen = 0  # unless the training's index says how many
    with suppress(FileNotFoundError, KeyError, ValueError):
        clips_seen = int(json.loads((train / "index.json").read_text())["clips_seen"])
    final = Snapshot.of(last, clips_seen)
    if all(snapshot.digest != final.digest for snapshot in found):
        found.append(final)
    return sorted(found, key=lambda snapshot: snapshot.clips_seen)


def curve(
    found: list[Snapshot], embedder: Embedder, detector: Detector, real: Array, available: int
) -> list[dict[str, float]]:
    """The Frechet distance of each snapshot to all rows of ``real`` with its 95 % interval.

    Rows of clips_seen, value, low and high. As many videos as ``real`` has rows are generated, with ``available`` frames and
    seeds that no reported draw has: the best of several values on the same seeds is too low on average.
    """
    rows = []
    progress = ProgressDisplay("evaluate: snapshots", len(found) * len(real))
    embedder = Embedder(config=embedder.config, executor=embedder.executor, progress=progress)
    for snapshot in found:
        fakes = embedder.generated(snapshot, detector, draw=CHOICE_DRAW, videos=len(real), available=available).features
        interval = bootstrap(FRECHET, real, fakes, seed=embedder.config.seed, resamples=RESAMPLES)
        value = FRECHET.of(real, fakes)
        rows.append({"clips_seen": snapshot.clips_seen, "value": value, "low": interval.low, "high": interval.high})
    progress.finish()
    return rows


def quick_measure(
    generator: VideoGenerator, real: Array, detector: Detector, config: EvaluationConfig, *, frames: int, videos: int
) -> float:
    """Frechet distance of ``videos`` videos of ``frames`` frames to as many first rows of ``real``, on the seeds of ``curve``.

    ``real`` are features [N, D] (``ReferenceFeatures.reference``); lower is better. Deterministic. Takes about 0.04 s a
    video on two cores with the default detector at 32 pixels. Errors: ``UserError`` if ``real`` has too few rows.
    """
    if len(real) < videos:
        raise UserError(f"{len(real)} real clips: a measure of {videos} videos needs as many; run the stage reference")
    seeds, times = seeds_of(config.seed, CHOICE_DRAW, range(videos)), torch.linspace(0, 1, frames)
    fakes = embed_generated(detector, generator=generator, seeds=seeds, config=config, times=times)
    return FRECHET.of(real[:videos], fakes.features)
