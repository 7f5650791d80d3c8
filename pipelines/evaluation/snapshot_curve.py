"""The generators that a training has left: snapshots by clips seen, and the last one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics.feature_metrics import FRECHET
from digan.metrics.uncertainty import bootstrap
from pipelines.detectors import Detector
from pipelines.evaluation import embedding
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import EmbeddingTask, Executor, GeneratedBlock, Span, seeds_of
from pipelines.evaluation.feature_cache import FeatureCache, feature_key
from pipelines.report.progress_display import ProgressDisplay


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A generator's ``folder`` after ``clips_seen`` clips, and the digest of its weights."""

    folder: Path
    clips_seen: int
    digest: str


def snapshots(train: Path) -> list[Snapshot]:
    """All snapshots of a training in their order, the last generator among them once."""
    found = []
    for folder in sorted((train / "snapshots").glob("*")) if (train / "snapshots").is_dir() else []:
        if folder.name.isdigit() and (folder / "weights.pt").is_file():
            found.append(_snapshot(folder, int(folder.name)))
    last = train / "generator"
    if not (last / "weights.pt").is_file() or not (last / "config.json").is_file():
        raise UserError(f"{last}: no generator there; run python -m pipelines.train first")
    final = _snapshot(last, clips_seen(train / "index.json"))
    if all(snapshot.digest != final.digest for snapshot in found):
        found.append(final)
    return sorted(found, key=lambda snapshot: snapshot.clips_seen)


def clips_seen(index: Path) -> int:
    """How far the training went, 0 where its index does not say."""
    try:
        return int(json.loads(index.read_text())["clips_seen"])
    except (FileNotFoundError, KeyError, ValueError):
        return 0


def _snapshot(folder: Path, clips: int) -> Snapshot:
    return Snapshot(folder=folder, clips_seen=clips, digest=embedding.generator_digest(folder))


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Features of generated videos: settings that all generators of an evaluation share."""

    config: EvaluationConfig
    frames: int
    available: int
    cache: FeatureCache
    runner: Executor

    def features(
        self, snapshot: Snapshot, detector: Detector, *, draw: int, videos: int, progress: ProgressDisplay | None
    ) -> NDArray[np.float64]:
        """Features of one draw; videos live only from their making to their embedding."""

        def works(spans: list[Span]) -> Iterator[EmbeddingTask]:
            generator = self.runner.share(embedding.load_generator(snapshot.folder))
            for number, start, count in spans:
                make = GeneratedBlock(
                    generator=generator,
                    seeds=seeds_of(self.config.seed, draw, start, count),
                    frames=self.frames,
                    available=self.available,
                    truncation=self.config.truncation,
                    batch_size=self.config.batch_size,
                )
                yield EmbeddingTask(number=number, make=make)

        key = feature_key(
            detector,
            "fake",
            generator=snapshot.digest,
            draw=draw,
            seed=self.config.seed,
            truncation=self.config.truncation,
            frames=self.frames,
            available=self.available,
        )
        found = embedding.embed(
            key, videos, works, cache=self.cache, runner=self.runner, detector=detector, progress=progress
        )
        return found.features


def curve(
    found: list[Snapshot],
    embedder: Embedder,
    detector: Detector,
    reference: NDArray[np.float64],
    videos: int,
    each: Callable[[dict[str, float]], None] = lambda row: None,
) -> list[dict[str, float]]:
    """The quick Frechet distance of each snapshot with its 95 % interval: rows of clips_seen, value, low, high."""
    rows = []
    progress = ProgressDisplay("evaluate: snapshots", len(found) * videos)
    for snapshot in found:
        fakes = embedder.features(snapshot, detector, draw=0, videos=videos, progress=progress)
        value = FRECHET.of(reference[:videos], fakes)
        interval = bootstrap(FRECHET, reference[:videos], fakes, seed=embedder.config.seed, resamples=50)
        row = {"clips_seen": snapshot.clips_seen, "value": value, "low": interval.low, "high": interval.high}
        rows.append(row)
        each(row)
    progress.finish()
    return rows
