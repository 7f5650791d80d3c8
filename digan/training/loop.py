"""The loop: from the newest checkpoint to the last clip, the same on one worker or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from digan.checkpointing import generator_files
from digan.models.config import ModelConfig
from digan.models.generator import Generator
from digan.sampling import draw_latents, pick_labels, render
from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_times
from digan.training import checkpoint, snapshots, thumbnails
from digan.training.background import Ahead, Background
from digan.training.checkpoint import FolderStore, Store
from digan.training.config import TrainingConfig
from digan.training.meter import Meter, Progress
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.training.step import train_step
from digan.training.watch import MOST_ROLLBACKS, STEPS, DivergedError, Verdict, Watch
from digan.types import FramePair, Latents

__all__ = ["Progress", "Reader", "train"]

PROGRESS_SECONDS = 2.0
SAMPLE_SEEDS = tuple(range(8))
SAMPLE_FRAMES = 8
JUDGED_PAIRS = 64  # averaged generator's pairs behind a checkpoint's distance
READ_AHEAD = 2  # updates

Reader = Callable[
    [int, int], Iterator[list[FramePair]]
]  # (update, seed) -> this worker's micro-batches, update by update


def train(
    *,
    training: TrainingConfig,
    model: ModelConfig,
    reader: Reader,
    checkpoints: Store | Path,
    snapshot_store: Store | Path,
    rank: int,
    world: int,
    device: torch.device,
    on_progress: Callable[[Progress], None],
    on_samples: Callable[[int, torch.Tensor], None],
    on_notice: Callable[[str], None] = print,
    on_checkpoint: Callable[[int, Generator], None] | None = None,
) -> Generator:
    """Trains until ``training.clips`` and returns the averaged generator.

    Goes on from the newest whole checkpoint in ``checkpoints``; rank 0 writes new ones, beside the training. ``reader(k, seed)`` gives
    this rank's micro-batches of the k-th update on. ``snapshot_store`` receives the averaged generator at points spread over the run.
    ``on_samples`` gets (clips seen, uint8 [8, 8, 3, R, R]) of fixed seeds on rank 0, ``on_notice`` lines for a person.
    ``on_checkpoint`` gets (clips seen, averaged generator) there once a checkpoint is written, the one that it goes on from included.

    Errors: ``DivergedError`` where the run has gone wrong (watch.py) and ``training.on_divergence`` says stop, or going back did not help.
    """
    stores = [FolderStore(s) if isinstance(s, Path) else s for s in (checkpoints, snapshot_store)]
    set_numerics(training, device)
    run = _Run(
        training, model, stores[0], stores[1], rank, world, device, on_progress, on_samples, on_notice, on_checkpoint
    )
    with Background() as run.background:
        run.begin()
        while run.go_on(reader):
            pass
    return run.state.average


class _Run:
    """A run on one worker."""

    def __init__(
        self,
        training: TrainingConfig,
        model: ModelConfig,
        checkpoints: Store,
        snapshot_store: Store,
        rank: int,
        world: int,
        device: torch.device,
        on_progress: Callable[[Progress], None],
        on_samples: Callable[[int, torch.Tensor], None],
        on_notice: Callable[[str], None],
        on_checkpoint: Callable[[int, Generator], None] | None,
    ) -> None:
        self.training, self.model, self.device = training, model, device
        self.checkpoints, self.snapshot_store = checkpoints, snapshot_store
        self.rank, self.world = rank, world
        self.on_progress, self.on_samples, self.on_notice = on_progress, on_samples, on_notice
        self.on_checkpoint = on_checkpoint
        self.background = Background()
        self.state = TrainingState(training, model, device)

    def begin(self) -> None:
        """Find the place to go on from; where there is none, show what an untrained generator paints."""
        if self.rank == 0 and isinstance(self.checkpoints, FolderStore):
            self.checkpoints.sweep()
        found = self._restore(before=None)
        if found is None and self.rank == 0:
            self.on_samples(0, _samples(self.state))
        if found is not None and self.rank == 0 and self.on_checkpoint is not None:
            self.on_checkpoint(self.state.clips_seen, self.state.average)
        if self.state.clips_seen >= self.training.clips:  # killed between the last checkpoint and the last word
            self.on_progress(Meter(self.state).report())

    def go_on(self, reader: Reader) -> bool:
        """Train until the last clip, or until it has gone back; whether there is more to do."""
        state, training = self.state, self.training
        if state.clips_seen >= training.clips:
            return False
        meter, watch = Meter(state), Watch()
        with Ahead(reader(state.step, state.draw_seed), depth=READ_AHEAD) as batches:
            while state.clips_seen < training.clips:
                asked = time.monotonic()
                pairs = next(batches)
                meter.waited += time.monotonic() - asked
                before = state.clips_seen
                metrics = train_step(state, pairs, rank=self.rank, world=self.world).values
                meter.add(metrics)
                watch.add(metrics)
                finished = state.clips_seen >= training.clips
                due = [
                    finished or _crosses(before, state.clips_seen, interval)
                    for interval in (training.sample_interval, training.snapshot_interval, training.checkpoint_interval)
                ]
                if any(due) or state.step % STEPS == 0:
                    verdict = watch.look(state, weights=any(due))
                    if verdict is not None:
                        self._go_back(verdict)
                        return True
                if self.rank == 0:
                    self._keep(*due, finished=finished)
                if finished or meter.age > PROGRESS_SECONDS:
                    self.on_progress(meter.report())
        self.background.wait()
        return False

    def _keep(self, sample: bool, snapshot: bool, save: bool, *, finished: bool) -> None:
        """Rank 0's work after an update. The snapshot comes first, so that no checkpoint lies beyond one that is missing."""
        state, training = self.state, self.training
        if sample:
            self.on_samples(state.clips_seen, _samples(state))
        work: list[Callable[[], object]] = []
        if snapshot:
            files, clips = generator_files(state.average), state.clips_seen
            keep = training.snapshots_kept
            work.append(lambda: snapshots.write(files, self.snapshot_store, clips, keep=keep))
        if save:
            frozen = checkpoint.freeze(state, distance=_distance(state))
            work.append(lambda: checkpoint.write(frozen, self.checkpoints, keep=training.checkpoints_kept))
        if work:
            self.background.do(lambda: [each() for each in work])
        if save and self.on_checkpoint is not None:
            self.background.wait()
            self.on_checkpoint(state.clips_seen, state.average)

    def _restore(self, before: int | None) -> int | None:
        """Load the newest whole checkpoint of at most ``before`` clips, on every worker the one that rank 0 found."""
        found = checkpoint.newest(self.checkpoints, before=before) if self.rank == 0 else None
        clips = self._agreed(-1 if found is None else int(found[0]))
        if clips < 0:
            return None
        self.state.load_state_dict(found[1] if found else checkpoint.read(self.checkpoints, checkpoint.name_of(clips)))
        return clips

    def _agreed(self, number: int) -> int:
        """Rank 0's number, on every rank."""
        if self.world == 1:
            return number
        shared = torch.tensor([number], device=self.device)
        torch.distributed.broadcast(shared, 0)
        return int(shared)

    def _go_back(self, verdict: Verdict) -> None:
        """To the last checkpoint before things went wrong, with other draws from there on; or the end of the run."""
        times, seen = self.state.rollbacks + 1, self.state.clips_seen
        remedy = "lower training.generator_lr and discriminator_lr, raise r1_gamma, or use precision fp32"
        if self.training.on_divergence == "stop":
            raise DivergedError(
                f"training went wrong at {seen} clips: {verdict.text}; {remedy}, or set training.on_divergence=rollback. "
                "The last good checkpoint is kept"
            )
        if times > MOST_ROLLBACKS:
            raise DivergedError(
                f"training went wrong at {seen} clips: {verdict.text}; {times - 1} returns did not help: {remedy}"
            )
        if self.rank == 0:
            self.background.wait()
        self.state = TrainingState(self.training, self.model, self.device)
        clips = self._restore(before=verdict.good_until) or 0
        self.state.rollbacks = times
        if self.rank == 0:
            for store in (self.checkpoints, self.snapshot_store):
                for name in checkpoint.listed(store):
                    if int(name) > clips:
                        store.remove(name)
            self.on_notice(
                f"at {seen} clips: {verdict.text}; back to {clips} clips with another seed, return {times} of at most {MOST_ROLLBACKS}"
            )


def _crosses(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def _latents(state: TrainingState, seeds: tuple[int, ...]) -> Latents:
    latents = draw_latents(seeds, labels=pick_labels(state.average, seeds))
    labels = None if latents.labels is None else latents.labels.to(state.device)
    return replace(
        latents, content=latents.content.to(state.device), motion=latents.motion.to(state.device), labels=labels
    )


def _samples(state: TrainingState) -> torch.Tensor:
    return render(state.average, _latents(state, SAMPLE_SEEDS), frame_times(SAMPLE_FRAMES).to(state.device)).cpu()


@torch.no_grad()
def _distance(state: TrainingState) -> float:
    """The coarse distance of the averaged generator's pairs to the real ones seen so far (thumbnails.py)."""
    moments = torch.zeros_like(state.real_moments)
    times = draw_time_pairs(JUDGED_PAIRS, generator=generator_for(0, "judged pairs")).to(state.device)
    for start in range(0, JUDGED_PAIRS, 16):
        latents = _latents(state, tuple(range(start, start + 16)))
        frames = state.average(latents.content, latents.motion, times[start : start + 16], latents.labels)
        thumbnails.follow(moments, thumbnails.features(frames))
    return float(thumbnails.distance(state.real_moments, moments))
