"""From clips to cached features, block by block, in this process or as Ray tasks; memory is independent of their number.

Legend: B videos of a batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from digan import generator_io, sampling
from digan.atomic import check_writable
from digan.errors import UserError
from digan.models.generator import VideoGenerator
from digan.types import Clip
from pipelines.cluster.ray_cluster import ClusterConfig, cluster_in_environment, connect
from pipelines.detectors import Detector
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.feature_cache import BLOCK, FeatureBlock, FeatureCache, feature_key, join
from pipelines.report.progress_display import ProgressDisplay
from pipelines.storage import file_io
from pipelines.training_run.run_fingerprint import weights_digest

SEED_STRIDE, DRAW_STRIDE = 2**20, 2**15  # between the first seeds of two evaluation seeds, and of two draws
CHOICE_DRAW = 2**20  # chooses snapshots and trials; draws that are reported are below, so they have other seeds
QUEUED = 2  # blocks in Ray's queue for each task that can run

# A block to embed, called with a detector. Its keywords may hold what ``Executor.share`` returned.
EmbeddingTask = partial[FeatureBlock]
TaskMaker = Callable[[list[range]], Iterator[EmbeddingTask]]  # the tasks for blocks at these positions


def seeds_of(seed: int, draw: int, positions: range) -> range:
    """Seeds of the videos at these positions of a draw, independent of the number of videos in the draw."""
    first = seed * SEED_STRIDE + draw * DRAW_STRIDE
    return range(first + positions.start, first + positions.stop)


def embed_clips(detector: Detector, *, videos: torch.Tensor, names: tuple[str, ...], batch_size: int) -> FeatureBlock:
    """Features of clips in memory, uint8 [B, T, 3, H, W]."""
    features = np.concatenate([detector.features(part) for part in videos.split(batch_size)])
    return FeatureBlock(features=features, names=names, videos=len(videos))


def embed_generated(
    detector: Detector, *, generator: VideoGenerator, seeds: range, config: EvaluationConfig, times: torch.Tensor
) -> FeatureBlock:
    """Features of the generated videos of ``seeds`` at ``times``; only one batch of videos is in memory at a time."""
    size = config.batch_size
    make = partial(sampling.sample, generator, times=times, truncation=config.truncation, batch=size)
    batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    features = np.concatenate([detector.features(make(seeds=batch)) for batch in batches])
    return FeatureBlock(features=features, names=(), videos=len(seeds))


class LocalExecutor:
    """Runs tasks in this process, one after the other, with all its cores."""

    def run(self, tasks: Iterator[EmbeddingTask], detector: Detector) -> Iterator[FeatureBlock]:
        """The tasks' blocks in their order."""
        return (task(detector) for task in tasks)

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value


class RayExecutor:
    """Runs tasks on a Ray cluster; a lost task runs again on another machine. The workers need no common disk."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        import ray

        self._ray = ray
        total = ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 1.0), resources.get("GPU", 0.0)
        parallel = total.get("GPU", 0) / gpus if gpus else total.get("CPU", 1) / cpus
        self._most = QUEUED * max(1, int(parallel))
        self._run_task = ray.remote(_run_task).options(num_cpus=cpus, num_gpus=gpus, max_retries=3)
        self._threads = max(1, int(cpus))

    def run(self, tasks: Iterator[EmbeddingTask], detector: Detector) -> Iterator[FeatureBlock]:
        """The tasks' blocks in their order; tasks are taken as the cluster has room for them."""
        shared = self._ray.put(detector)
        pending: deque[Any] = deque()
        for task in tasks:
            pending.append(self._run_task.remote(task.func, shared, self._threads, **task.keywords))
            if len(pending) >= self._most:
                yield self._get(pending.popleft())
        yield from (self._get(result) for result in pending)

    def share(self, value: Any) -> Any:
        """A reference to a copy in Ray's object store; Ray replaces it by the value where a task runs."""
        return self._ray.put(value)

    def _get(self, result: Any) -> FeatureBlock:
        try:
            return self._ray.get(result)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise


def _run_task(
    function: Callable[..., FeatureBlock], detector: Detector, threads: int, **arguments: Any
) -> FeatureBlock:
    torch.set_num_threads(threads)
    return function(detector, **arguments)


Executor = LocalExecutor | RayExecutor


def check_cache(config: EvaluationConfig) -> None:
    """Check that a cache on this machine can be written; ``OSError`` names it."""
    if config.cache and not file_io.is_remote(config.cache):
        check_writable(file_io.local(config.cache))


@contextmanager
def open_executor(config: EvaluationConfig, cluster: ClusterConfig | None) -> Iterator[Executor]:
    """The executor for ``evaluation.runs_on``: ``auto`` means Ray if ``cluster`` or the environment names an address."""
    check_cache(config)
    named = cluster is not None and bool(cluster.address or cluster_in_environment())
    if cluster is None or config.runs_on == "process" or (config.runs_on == "auto" and not named):
        yield LocalExecutor()
        return
    with connect(cluster):
        yield RayExecutor(cluster.resources_per_worker)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A generator's ``folder`` after ``clips_seen`` clips, and the digest of its weights."""

    folder: Path
    clips_seen: int
    digest: str

    @classmethod
    def of(cls, folder: Path, clips_seen: int = 0) -> Snapshot:
        """The generator in ``folder``."""
        return cls(folder=folder, clips_seen=clips_seen, digest=weights_digest(folder))


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Features under the settings of one evaluation: cached blocks are read, the others are made and cached."""

    config: EvaluationConfig
    executor: Executor
    progress: ProgressDisplay | None = None

    def clips(
        self, key: Mapping[str, Any], count: int, read: Callable[[list[range]], Iterator[Clip]], detector: Detector
    ) -> FeatureBlock:
        """Features of ``count`` clips; ``read`` yields, one by one, the clips at the positions that are not cached."""

        def tasks(missing: list[range]) -> Iterator[EmbeddingTask]:
            stream, size = read(missing), self.config.batch_size
            for block in missing:
                batch = list(islice(stream, len(block)))
                videos, names = torch.stack([clip.frames for clip in batch]), tuple(clip.name for clip in batch)
                yield partial(embed_clips, videos=videos, names=names, batch_size=size)

        return self._embed(key, count, tasks, detector)

    def generated(
        self, snapshot: Snapshot, detector: Detector, *, draw: int, videos: int, available: int
    ) -> FeatureBlock:
        """Features of a draw's first ``videos`` videos: the protocol's frames of ``available`` ones over [0, 1]."""
        config = self.config
        frames = config.measured_by().frames_of(available)
        times = torch.linspace(0, 1, available)[:frames]

        def tasks(missing: list[range]) -> Iterator[EmbeddingTask]:
            generator = generator_io.load_generator(snapshot.folder)
            shared = self.executor.share(generator.to("cuda") if torch.cuda.is_available() else generator)
            for block in missing:
                seeds = seeds_of(config.seed, draw, block)
                yield partial(embed_generated, generator=shared, seeds=seeds, config=config, times=times)

        settings = {"draw": draw, "seed": config.seed, "truncation": config.truncation}
        key = feature_key(detector, "fake", generator=snapshot.digest, frames=frames, available=available, **settings)
        return self._embed(key, videos, tasks, detector)

    def _embed(self, key: Mapping[str, Any], count: int, tasks: TaskMaker, detector: Detector) -> FeatureBlock:
        cache = FeatureCache(self.config.cache, key)
        blocks = [range(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
        cached = {block: cache.read(block.start // BLOCK, len(block)) for block in blocks}
        done = {block: found for block, found in cached.items() if found is not None}
        missing = [block for block in blocks if block not in done]
        if self.progress is not None and done:
            self.progress.skip(sum(map(len, done)))
        if missing:
            for block, made in zip(missing, self.executor.run(tasks(missing), detector), strict=True):
                cache.write(block.start // BLOCK, made)
                done[block] = made
                if self.progress is not None:
                    self.progress.advance(made.videos)
        return join([done[block] for block in blocks])
