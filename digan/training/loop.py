"""The training loop: the order of one update, and the schedule of outputs by clips seen.

Read from top to bottom: ``train`` resumes and handles rollbacks, ``_TrainingRun.train_until_rollback`` loops over
updates, ``train_step`` is one update. Workers differ only in their micro-batches, so all of them take the same branches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from digan.generator_io import generator_files
from digan.models.generator import VideoGenerator
from digan.sampling import draw_latents, pick_labels, render
from digan.times import frame_times
from digan.training import checkpoint, snapshots
from digan.training.background import BackgroundTask, Prefetcher
from digan.training.checkpoint import FolderStore
from digan.training.divergence import (
    CHECK_INTERVAL,
    MAX_ROLLBACKS,
    DivergedError,
    DivergenceMonitor,
    TrainingDivergence,
)
from digan.training.numerics import set_numerics
from digan.training.run_spec import Reader, TrainingHooks, TrainingPlacement, TrainingSpec
from digan.training.running_metrics import RunningMetrics, TrainingProgress
from digan.training.state import TrainingState
from digan.training.step import StepMetrics, Update
from digan.types import FramePair

__all__ = ["Reader", "TrainingHooks", "TrainingPlacement", "TrainingProgress", "TrainingSpec", "train", "train_step"]

PROGRESS_SECONDS = 2.0
SAMPLE_SEEDS = tuple(range(8))
SAMPLE_FRAMES = 8
PREFETCHED_UPDATES = 2


def train(spec: TrainingSpec, placement: TrainingPlacement, hooks: TrainingHooks) -> VideoGenerator:
    """Train until ``spec.training.clips`` clips are seen and return the generator EMA.

    Resumes from the newest intact checkpoint in ``placement.checkpoints``; rank 0 writes new checkpoints, and snapshots of
    the generator EMA to ``placement.snapshots``, in the background.

    Raises ``DivergedError`` if training diverges (divergence.py) and ``training.on_divergence`` is ``stop``, or if
    ``MAX_ROLLBACKS`` rollbacks did not recover it.
    """
    set_numerics(spec.training, placement.device)
    with BackgroundTask() as background:
        run = _TrainingRun(spec, placement, hooks, background)
        run.resume()
        while run.state.clips_seen < spec.training.clips:
            divergence = run.train_until_rollback()
            if divergence is not None:
                run.roll_back(divergence)
    return run.state.generator_ema


def train_step(state: TrainingState, pairs: Sequence[FramePair], *, rank: int = 0, world_size: int = 1) -> StepMetrics:
    """One update of all networks, and of ``state.clips_seen`` by the batch size.

    ``pairs`` holds the real pairs of this worker's micro-batches, [micro_batch, 2, 3, H, W] for each index in
    ``micro_batch_indices(rank, world_size, ...)``.
    """
    training = state.training
    update = Update(state, pairs, rank=rank, world_size=world_size)

    # Generator: non-saturating logistic loss against both discriminators; also updates w_avg.
    update.update_generator()

    # Path length penalty (StyleGAN2), every generator_interval updates: an Adam step of its own, weighted by the interval.
    if training.path_length_weight and state.step % training.generator_interval == 0:
        update.penalize_path_lengths()

    # Image and motion discriminator: logistic loss of newly generated and real pairs, and of real pairs with a wrong dt.
    update.update_discriminator()

    # R1 penalty, every r1_interval updates: an Adam step of its own, weighted by the interval.
    if training.r1_gamma and state.step % training.r1_interval == 0:
        update.penalize_real_gradients()

    # Generator EMA: used for samples, snapshots and the returned generator.
    update.update_ema()

    state.clips_seen += training.batch_size
    return StepMetrics(values=update.metrics)


class _TrainingRun:
    """One worker of a training run."""

    def __init__(
        self, spec: TrainingSpec, placement: TrainingPlacement, hooks: TrainingHooks, background: BackgroundTask
    ) -> None:
        self.spec, self.placement, self.hooks, self.background = spec, placement, hooks, background
        self.state = self._at_clip_0()

    def _at_clip_0(self) -> TrainingState:
        state = TrainingState(self.spec.training, self.spec.model, self.placement.device)
        if self.spec.start is not None:
            state.load_weights(self.spec.start.networks)
        return state

    def resume(self) -> None:
        """Load the newest checkpoint; without one, report samples of the untrained generator."""
        checkpoints, hooks, state = self.placement.checkpoints, self.hooks, self.state
        is_writer = self.placement.rank == 0
        if is_writer and isinstance(checkpoints, FolderStore):
            checkpoints.remove_unfinished()
        resumed = self._load(before=None)
        if is_writer and not resumed:
            hooks.on_samples(0, _samples(state))
        if is_writer and resumed and hooks.on_checkpoint is not None:
            hooks.on_checkpoint(state.clips_seen, state.generator_ema)
        if state.clips_seen >= self.spec.training.clips:  # finished, but perhaps killed before it reported that
            hooks.on_progress(RunningMetrics(state).report())

    def train_until_rollback(self) -> TrainingDivergence | None:
        """Train until the last clip or a divergence; returns the divergence."""
        state, training = self.state, self.spec.training
        running, monitor = RunningMetrics(state), DivergenceMonitor()
        with Prefetcher(self.spec.reader(state.step, state.draw_seed), depth=PREFETCHED_UPDATES) as batches:
            while state.clips_seen < training.clips:
                # Data: this worker's micro-batches of real pairs, prefetched by a thread.
                waiting_since = time.monotonic()
                pairs = next(batches)
                running.waited += time.monotonic() - waiting_since

                # Update: every network once; adds batch_size to clips_seen.
                clips_before = state.clips_seen
                rank, world_size = self.placement.rank, self.placement.world_size
                metrics = train_step(state, pairs, rank=rank, world_size=world_size).values
                running.add(metrics)
                monitor.add(metrics)

                # Schedule: each output at the multiples of its interval, and all of them after the last clip.
                finished = state.clips_seen >= training.clips
                sample_due, snapshot_due, checkpoint_due = (
                    finished or clips_before // interval != state.clips_seen // interval
                    for interval in (training.sample_interval, training.snapshot_interval, training.checkpoint_interval)
                )
                any_due = sample_due or snapshot_due or checkpoint_due

                # Divergence: every 32 updates, and before any output, so that none holds diverged weights.
                if any_due or state.step % CHECK_INTERVAL == 0:
                    divergence = monitor.check(state, weights=any_due)
                    if divergence is not None:
                        return divergence

                # Outputs, on rank 0.
                if any_due and rank == 0:
                    self._write_outputs(sample_due, snapshot_due, checkpoint_due)

                # Progress.
                if finished or running.age > PROGRESS_SECONDS:
                    self.hooks.on_progress(running.report())
        return None

    def _write_outputs(self, sample_due: bool, snapshot_due: bool, checkpoint_due: bool) -> None:
        """Copy the state for the outputs that are due and write them in the background.

        The snapshot comes before the checkpoint: a run that resumes from a checkpoint has its snapshot.
        """
        state, training, placement = self.state, self.spec.training, self.placement
        writes: list[Callable[[], object]] = []
        if sample_due:
            self.hooks.on_samples(state.clips_seen, _samples(state))
        if snapshot_due:
            files = generator_files(state.generator_ema, self.spec.classes)
            clips, kept = state.clips_seen, training.snapshots_kept
            writes.append(lambda: snapshots.write(files, placement.snapshots, clips, keep=kept))
        if checkpoint_due:
            captured = checkpoint.capture(state)
            writes.append(
                lambda: checkpoint.write(
                    captured, placement.checkpoints, model=self.spec.model, keep=training.checkpoints_kept
                )
            )
        if writes:
            self.background.start(lambda: [write() for write in writes])
        if checkpoint_due and self.hooks.on_checkpoint is not None:
            self.background.wait()
            self.hooks.on_checkpoint(state.clips_seen, state.generator_ema)

    def roll_back(self, divergence: TrainingDivergence) -> None:
        """Reload the last checkpoint before the divergence and continue with another seed, or raise ``DivergedError``."""
        rollbacks, clips_diverged = self.state.rollbacks + 1, self.state.clips_seen
        self._require_rollback(divergence, rollbacks)
        if self.placement.rank == 0:
            self.background.wait()
        self.state = self._at_clip_0()
        self._load(before=divergence.last_good_clips)
        self.state.rollbacks = rollbacks
        if self.placement.rank == 0:
            for store in (self.placement.checkpoints, self.placement.snapshots):
                for name in checkpoint.listed(store):
                    if int(name) > self.state.clips_seen:
                        store.remove(name)
            self.hooks.on_notice(
                f"training diverged at {clips_diverged} clips: {divergence.text}; rolled back to {self.state.clips_seen} clips with "
                f"another seed (rollback {rollbacks} of at most {MAX_ROLLBACKS})"
            )

    def _require_rollback(self, divergence: TrainingDivergence, rollbacks: int) -> None:
        diverged = f"training diverged at {self.state.clips_seen} clips: {divergence.text}"
        remedy = "lower training.generator_lr and discriminator_lr, raise r1_gamma, or use precision fp32"
        if self.spec.training.on_divergence == "stop":
            raise DivergedError(
                f"{diverged}; {remedy}, or set training.on_divergence=rollback. The last good checkpoint is kept"
            )
        if rollbacks > MAX_ROLLBACKS:
            raise DivergedError(f"{diverged}; {MAX_ROLLBACKS} rollbacks did not recover it: {remedy}")

    def _load(self, before: int | None) -> bool:
        """Load the newest intact checkpoint of at most ``before`` clips that rank 0 finds; returns whether there is one."""
        checkpoints = self.placement.checkpoints
        found = checkpoint.newest(checkpoints, before=before) if self.placement.rank == 0 else None
        clips = self._broadcast(-1 if found is None else int(found[0]))
        if clips < 0:
            return False
        self.state.load_state_dict(found[1] if found else checkpoint.read(checkpoints, checkpoint.name_of(clips)))
        return True

    def _broadcast(self, number: int) -> int:
        """Rank 0's ``number``."""
        if self.placement.world_size == 1:
            return number
        shared = torch.tensor([number], device=self.placement.device)
        torch.distributed.broadcast(shared, 0)
        return int(shared)


def _samples(state: TrainingState) -> torch.Tensor:
    """Videos of fixed seeds by the generator EMA, uint8 [8, 8, 3, R, R]."""
    latents = draw_latents(SAMPLE_SEEDS, labels=pick_labels(state.generator_ema, SAMPLE_SEEDS))
    return render(state.generator_ema, latents, frame_times(SAMPLE_FRAMES))
