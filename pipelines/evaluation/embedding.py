"""Videos to cached features, chunk by chunk, here or as Ray tasks; memory does not grow with the number of videos.

Legend: B videos of a batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from digan import generator_io, sampling
from digan.models.generator import VideoGenerator
from pipelines.detectors import Detector
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.feature_cache import CHUNK, FeatureBlock, FeatureCache, join
from pipelines.report.progress_display import ProgressDisplay

SEED_STRIDE, DRAW_STRIDE = 2**20, 2**15  # seeds of one evaluation seed and of one draw: no two videos share one
IN_FLIGHT = 2  # chunks waiting for each that is being embedded


def seeds_of(seed: int, draw: int, start: int, count: int) -> range:
    """The seeds of a draw's videos ``start`` to ``start + count - 1``, whatever the number of videos in all."""
    first = seed * SEED_STRIDE + draw * DRAW_STRIDE + start
    return range(first, first + count)


@dataclass(frozen=True, kw_only=True)
class EmbeddingTask:
    """A chunk still to be embedded: its number, and what makes its features when called with a detector."""

    number: int
    make: Callable[[Detector], FeatureBlock]


class Executor(Protocol):
    """Who embeds: yields the chunks of the works in their order, as they are ready."""

    def run(self, works: Iterator[EmbeddingTask], detector: Detector) -> Iterator[tuple[EmbeddingTask, FeatureBlock]]:
        """Take works as there is room for them."""

    def share(self, value: Any) -> Any:
        """``value``, or a reference to it, for works that go elsewhere."""


class LocalExecutor:
    """This process, with all its cores."""

    def run(self, works: Iterator[EmbeddingTask], detector: Detector) -> Iterator[tuple[EmbeddingTask, FeatureBlock]]:
        """One chunk after the other."""
        for work in works:
            yield work, work.make(detector)

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value


class RayExecutor:
    """Ray tasks over whatever the cluster has; a lost task runs again elsewhere. The workers need no common disk."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        import ray

        self._ray = ray
        cpus, gpus = resources.get("CPU", 1.0), resources.get("GPU", 0.0)
        have = ray.cluster_resources()
        places = int(have.get("GPU", 0) / gpus) if gpus else int(have.get("CPU", 1) / cpus)
        self._most = IN_FLIGHT * max(1, places)
        self._task = ray.remote(_make).options(num_cpus=cpus, num_gpus=gpus, max_retries=3)
        self._threads = max(1, int(cpus))

    def run(self, works: Iterator[EmbeddingTask], detector: Detector) -> Iterator[tuple[EmbeddingTask, FeatureBlock]]:
        """As many chunks at once as there are places, and as many waiting."""
        shared = self._ray.put(detector)
        waiting: deque[tuple[EmbeddingTask, Any]] = deque()
        for work in works:
            waiting.append((work, self._task.remote(shared, work.make, self._threads)))
            if len(waiting) >= self._most:
                first, result = waiting.popleft()
                yield first, self._get(result)
        while waiting:
            first, result = waiting.popleft()
            yield first, self._get(result)

    def share(self, value: Any) -> Any:
        """A reference to a copy in Ray's store."""
        return self._ray.put(value)

    def _get(self, result: Any) -> FeatureBlock:
        from digan.errors import UserError

        try:
            return self._ray.get(result)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise


def _make(detector: Detector, make: Callable[[Detector], FeatureBlock], threads: int) -> FeatureBlock:
    torch.set_num_threads(threads)
    return make(detector)


@contextmanager
def open_executor(config: EvaluationConfig, cluster: Any) -> Iterator[Executor]:
    """Who embeds under these settings; ``cluster`` is the section of that name, ``None`` for this process."""
    import os

    named = cluster is not None and bool(cluster.address or os.environ.get("RAY_ADDRESS"))
    if cluster is None or config.runs_on == "process" or (config.runs_on == "auto" and not named):
        yield LocalExecutor()
        return
    from pipelines.cluster.ray_cluster import connect

    with connect(cluster):
        yield RayExecutor(cluster.resources_per_worker)


Span = tuple[int, int, int]  # a chunk's number, its first clip, its number of clips


def embed(
    key: Mapping[str, Any],
    videos: int,
    works: Callable[[list[Span]], Iterator[EmbeddingTask]],
    *,
    cache: FeatureCache,
    runner: Executor,
    detector: Detector,
    progress: ProgressDisplay | None = None,
) -> FeatureBlock:
    """Features of ``videos`` clips: chunks in the cache are read, the others are embedded and written to it."""
    spans = list(chunks_of(videos))
    done: dict[int, FeatureBlock] = {}
    for number, _, count in spans:
        found = cache.read(key, number, count)
        if found is not None:
            done[number] = found
    missing = [span for span in spans if span[0] not in done]
    if progress is not None and done:
        progress.skip(sum(chunk.videos for chunk in done.values()))
    if missing:
        for work, chunk in runner.run(works(missing), detector):
            cache.write(key, work.number, chunk)
            done[work.number] = chunk
            if progress is not None:
                progress.advance(chunk.videos)
    return join([done[number] for number, _, _ in spans])


def chunks_of(videos: int) -> Iterator[Span]:
    """Number, first clip and clips of each chunk."""
    for number, start in enumerate(range(0, videos, CHUNK)):
        yield number, start, min(CHUNK, videos - start)


@dataclass(frozen=True, kw_only=True)
class GeneratedBlock:
    """Makes and embeds generated videos; a value, so that it can go to another machine.

    The videos have ``available`` frames over [0, 1], of which the first ``frames`` are made.
    """

    generator: Any  # a Generator, or Ray's reference to one
    seeds: range
    frames: int
    available: int
    truncation: float
    batch_size: int

    def __call__(self, detector: Detector) -> FeatureBlock:
        generator: VideoGenerator = (
            self.generator if isinstance(self.generator, VideoGenerator) else _fetch(self.generator)
        )
        return FeatureBlock(
            features=embed_generated(
                generator,
                detector,
                seeds=self.seeds,
                times=torch.linspace(0, 1, self.available)[: self.frames],
                truncation=self.truncation,
                batch_size=self.batch_size,
            ),
            names=(),
            videos=len(self.seeds),
        )


@dataclass(frozen=True, kw_only=True)
class RealBlock:
    """Embeds clips that were read already, uint8 [B, T, 3, H, W]."""

    videos: torch.Tensor
    names: tuple[str, ...]
    batch_size: int

    def __call__(self, detector: Detector) -> FeatureBlock:
        parts = [detector.features(part) for part in self.videos.split(self.batch_size)]
        return FeatureBlock(features=np.concatenate(parts), names=self.names, videos=len(self.videos))


def _fetch(reference: Any) -> VideoGenerator:
    import ray

    found: VideoGenerator = ray.get(reference)
    return found


def embed_generated(
    generator: VideoGenerator,
    detector: Detector,
    *,
    seeds: range,
    times: torch.Tensor,
    truncation: float,
    batch_size: int,
    each: Callable[[int], None] = lambda videos: None,
) -> NDArray[np.float64]:
    """Features [videos, D] of the seeds' videos; a video lives only from its making to its embedding."""
    parts = []
    for start in range(0, len(seeds), batch_size):
        batch = seeds[start : start + batch_size]
        videos = sampling.sample(generator, seeds=batch, times=times, truncation=truncation, batch=batch_size)
        parts.append(detector.features(videos))
        each(len(batch))
    return np.concatenate(parts)


def generator_digest(folder: Path) -> str:
    """SHA-256 of a generator's folder: configuration and weights."""
    from pipelines.training_run.run_fingerprint import weights_digest

    return weights_digest(folder)


def load_generator(folder: Path) -> VideoGenerator:
    """The generator, on the device that embeds."""
    generator = generator_io.load_generator(folder)
    return generator.to("cuda") if torch.cuda.is_available() else generator
