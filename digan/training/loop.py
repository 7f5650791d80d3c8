"""The loop: from the newest checkpoint to the last clip, the same on one worker or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from digan.models.config import ModelConfig
from digan.models.generator import Generator
from digan.sampling import draw_latents, pick_labels, render
from digan.times import frame_times
from digan.training import checkpoint, snapshots
from digan.training.config import TrainingConfig
from digan.training.state import TrainingState
from digan.training.step import train_step
from digan.types import FramePair

PROGRESS_SECONDS = 2.0
SAMPLE_SEEDS = tuple(range(8))
SAMPLE_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: clips seen and in total, its rate since the last report, and means of the steps' metrics since then.

    ``waiting`` is the share of time spent on waiting for data, 0 to 1; ``seconds_left`` assumes the present rate.
    """

    clips_seen: int
    clips_total: int
    clips_per_second: float
    seconds_left: float
    waiting: float
    metrics: dict[str, float]


class _Meter:
    """Gathers metrics on the device and turns them into a Progress now and then."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.begin()

    def begin(self) -> None:
        self.started, self.clips, self.waited = time.monotonic(), self.state.clips_seen, 0.0
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def report(self) -> Progress:
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = (self.state.clips_seen - self.clips) / seconds
        total = self.state.training.clips
        progress = Progress(
            clips_seen=self.state.clips_seen,
            clips_total=total,
            clips_per_second=rate,
            seconds_left=max(total - self.state.clips_seen, 0) / max(rate, 1e-9),
            waiting=min(self.waited / seconds, 1.0),
            metrics={name: float(value) / self.counts[name] for name, value in self.sums.items()},
        )
        self.begin()
        return progress


def _crosses(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def train(
    *,
    training: TrainingConfig,
    model: ModelConfig,
    reader: Callable[[int], Iterator[FramePair]],
    checkpoints: Path,
    snapshot_folder: Path,
    rank: int,
    world: int,
    device: torch.device,
    on_progress: Callable[[Progress], None],
    on_samples: Callable[[int, torch.Tensor], None],
) -> Generator:
    """Trains until ``training.clips`` and returns the averaged generator.

    Goes on from the newest whole checkpoint in ``checkpoints``; rank 0 writes new ones. ``reader(k)`` gives this rank's batches from
    the k-th on. ``snapshot_folder`` receives the averaged generator at points spread over the run. ``on_samples`` gets (clips seen,
    uint8 [8, 8, 3, R, R]) of fixed seeds on rank 0.
    """
    state = TrainingState(training, model, device)
    found = checkpoint.newest(checkpoints)
    if found is not None:
        checkpoint.load(state, found)
    batches = reader(state.step)
    meter = _Meter(state)
    if found is None and rank == 0:
        on_samples(0, _samples(state))
    if state.clips_seen >= training.clips:  # killed between the last checkpoint and the last word
        on_progress(meter.report())
    while state.clips_seen < training.clips:
        waiting_since = time.monotonic()
        pair = next(batches)
        meter.waited += time.monotonic() - waiting_since
        before = state.clips_seen
        meter.add(train_step(state, pair, rank=rank, world=world).values)
        finished = state.clips_seen >= training.clips
        if rank == 0 and (finished or _crosses(before, state.clips_seen, training.sample_interval)):
            on_samples(state.clips_seen, _samples(state))
        if rank == 0 and (finished or _crosses(before, state.clips_seen, training.snapshot_interval)):
            snapshots.save(state.average, snapshot_folder, state.clips_seen, keep=training.snapshots_kept)
        if rank == 0 and (finished or _crosses(before, state.clips_seen, training.checkpoint_interval)):
            checkpoint.save(state, checkpoints, keep=training.checkpoints_kept)
        if finished or time.monotonic() - meter.started > PROGRESS_SECONDS:
            on_progress(meter.report())
    return state.average


def _samples(state: TrainingState) -> torch.Tensor:
    labels = pick_labels(state.average, SAMPLE_SEEDS)
    latents = draw_latents(SAMPLE_SEEDS, labels=labels)
    to = state.device
    latents = type(latents)(
        content=latents.content.to(to),
        motion=latents.motion.to(to),
        labels=None if latents.labels is None else latents.labels.to(to),
    )
    return render(state.average, latents, frame_times(SAMPLE_FRAMES).to(to)).cpu()
