"""The training loop: what one update does, in which order, and what happens at which count of clips.

Read from top to bottom: ``train`` resumes and survives rollbacks, ``_Run.train_until_rollback`` is the loop over updates,
``train_step`` is one update. Workers differ only in which micro-batches they compute, so they take every branch together.
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
from digan.training.divergence import MOST_ROLLBACKS, STEPS, DivergedError, DivergenceMonitor, TrainingDivergence
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
    """Train until ``spec.training.clips`` and return the EMA generator.

    Resumes from the newest whole checkpoint in ``placement.checkpoints``; rank 0 writes new ones in the background.
    ``placement.snapshots`` receives the EMA generator at points spread over the run.

    Errors: ``DivergedError`` when training diverges (watch.py) and ``training.on_divergence`` says stop, or when rollbacks
    do not help.
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


def train_step(state: TrainingState, pairs: Sequence[FramePair], *, rank: int = 0, world: int = 1) -> StepMetrics:
    """One update from this worker's real pairs: one [micro_batch, 2, 3, H, W] for each of ``numbers_of(rank, ...)``.

    Each phase adds up the gradients of its micro-batches, averages them over all workers, and takes one Adam step.
    """
    training = state.training
    update = Update(state, pairs, rank=rank, world=world)

    # Generator: non-saturating logistic loss against both discriminators; also moves the running mean of w.
    update.update_generator()

    # Path length penalty (StyleGAN2), every generator_interval updates: a step of its own, weighted by the interval.
    if training.path_length_weight and state.step % training.generator_interval == 0:
        update.penalize_path_lengths()

    # Image and motion discriminator: logistic loss on fresh fakes and the real pairs, and on real pairs at a wrong dt.
    update.update_discriminator()

    # R1 penalty, every r1_interval updates: a step of its own, weighted by the interval.
    if training.r1_gamma and state.step % training.r1_interval == 0:
        update.penalize_real_gradients()

    # EMA of the generator's weights: what samples, snapshots and the result are made of.
    update.update_ema()

    state.clips_seen += training.batch_size
    return StepMetrics(values=update.metrics)


class _TrainingRun:
    """A training run on one worker."""

    def __init__(
        self, spec: TrainingSpec, placement: TrainingPlacement, hooks: TrainingHooks, background: BackgroundTask
    ) -> None:
        self.spec, self.placement, self.hooks, self.background = spec, placement, hooks, background
        self.state = TrainingState(spec.training, spec.model, placement.device)

    def resume(self) -> None:
        """Load the newest checkpoint; without one, show samples of the untrained generator."""
        checkpoints, hooks, state = self.placement.checkpoints, self.hooks, self.state
        first = self.placement.rank == 0
        if first and isinstance(checkpoints, FolderStore):
            checkpoints.sweep()
        resumed = self._load(before=None)
        if first and not resumed:
            hooks.on_samples(0, _samples(state))
        if first and resumed and hooks.on_checkpoint is not None:
            hooks.on_checkpoint(state.clips_seen, state.generator_ema)
        if state.clips_seen >= self.spec.training.clips:  # a finished run that was killed before it could report so
            hooks.on_progress(RunningMetrics(state).report())

    def train_until_rollback(self) -> TrainingDivergence | None:
        """Train until the last clip, or until a divergence calls for a rollback; returns the divergence."""
        state, training = self.state, self.spec.training
        meter, watch = RunningMetrics(state), DivergenceMonitor()
        with Prefetcher(self.spec.reader(state.step, state.draw_seed), depth=PREFETCHED_UPDATES) as batches:
            while state.clips_seen < training.clips:
                # Data: this worker's micro-batches of real pairs, prefetched by a thread.
                waiting_since = time.monotonic()
                pairs = next(batches)
                meter.waited += time.monotonic() - waiting_since

                # Update every network once; this moves clips_seen on by batch_size.
                clips_before = state.clips_seen
                metrics = train_step(state, pairs, rank=self.placement.rank, world=self.placement.world_size).values
                meter.add(metrics)
                watch.add(metrics)

                # Schedule: each output at the multiples of its interval, and all of them after the last clip.
                finished = state.clips_seen >= training.clips
                sample_due, snapshot_due, checkpoint_due = (
                    finished or clips_before // interval != state.clips_seen // interval
                    for interval in (training.sample_interval, training.snapshot_interval, training.checkpoint_interval)
                )
                any_due = sample_due or snapshot_due or checkpoint_due

                # Divergence: every 32 updates, and before any output so that none holds diverged weights.
                if any_due or state.step % STEPS == 0:
                    divergence = watch.look(state, weights=any_due)
                    if divergence is not None:
                        return divergence

                # Outputs, on rank 0.
                if any_due and self.placement.rank == 0:
                    self._write_outputs(sample_due, snapshot_due, checkpoint_due)

                # Progress.
                if finished or meter.age > PROGRESS_SECONDS:
                    self.hooks.on_progress(meter.report())
        return None

    def _write_outputs(self, sample_due: bool, snapshot_due: bool, checkpoint_due: bool) -> None:
        """Copy what is due, then write it in the background.

        The snapshot is written first, so that no checkpoint is newer than a missing snapshot.
        """
        state, training, placement = self.state, self.spec.training, self.placement
        writes: list[Callable[[], object]] = []
        if sample_due:
            self.hooks.on_samples(state.clips_seen, _samples(state))
        if snapshot_due:
            files, clips, kept = generator_files(state.generator_ema), state.clips_seen, training.snapshots_kept
            writes.append(lambda: snapshots.write(files, placement.snapshots, clips, keep=kept))
        if checkpoint_due:
            captured = checkpoint.capture(state)
            writes.append(
                lambda: checkpoint.write(
                    captured, placement.checkpoints, model=self.spec.model, keep=training.checkpoints_kept
                )
            )
        if writes:
            self.background.do(lambda: [write() for write in writes])
        if checkpoint_due and self.hooks.on_checkpoint is not None:
            self.background.wait()
            self.hooks.on_checkpoint(state.clips_seen, state.generator_ema)

    def roll_back(self, divergence: TrainingDivergence) -> None:
        """Return to the last checkpoint before the divergence and draw differently from there, or raise ``DivergedError``."""
        rollbacks, seen = self.state.rollbacks + 1, self.state.clips_seen
        self._require_rollback(divergence, rollbacks)
        if self.placement.rank == 0:
            self.background.wait()
        self.state = TrainingState(self.spec.training, self.spec.model, self.placement.device)
        self._load(before=divergence.last_good_clips)
        self.state.rollbacks = rollbacks
        if self.placement.rank == 0:
            for store in (self.placement.checkpoints, self.placement.snapshots):
                for name in checkpoint.listed(store):
                    if int(name) > self.state.clips_seen:
                        store.remove(name)
            self.hooks.on_notice(
                f"training diverged at {seen} clips: {divergence.text}; rolled back to {self.state.clips_seen} clips with "
                f"another seed (rollback {rollbacks} of at most {MOST_ROLLBACKS})"
            )

    def _require_rollback(self, divergence: TrainingDivergence, rollbacks: int) -> None:
        diverged = f"training diverged at {self.state.clips_seen} clips: {divergence.text}"
        remedy = "lower training.generator_lr and discriminator_lr, raise r1_gamma, or use precision fp32"
        if self.spec.training.on_divergence == "stop":
            raise DivergedError(
                f"{diverged}; {remedy}, or set training.on_divergence=rollback. The last good checkpoint is kept"
            )
        if rollbacks > MOST_ROLLBACKS:
            raise DivergedError(f"{diverged}; {MOST_ROLLBACKS} rollbacks did not recover it: {remedy}")

    def _load(self, before: int | None) -> bool:
        """Load the newest whole checkpoint of at most ``before`` clips, the one that rank 0 finds; whether there is one."""
        checkpoints = self.placement.checkpoints
        found = checkpoint.newest(checkpoints, before=before) if self.placement.rank == 0 else None
        clips = self._broadcast(-1 if found is None else int(found[0]))
        if clips < 0:
            return False
        self.state.load_state_dict(found[1] if found else checkpoint.read(checkpoints, checkpoint.name_of(clips)))
        return True

    def _broadcast(self, number: int) -> int:
        """Rank 0's number, on every rank."""
        if self.placement.world_size == 1:
            return number
        shared = torch.tensor([number], device=self.placement.device)
        torch.distributed.broadcast(shared, 0)
        return int(shared)


def _samples(state: TrainingState) -> torch.Tensor:
    """Videos of fixed seeds by the EMA generator, uint8 [8, 8, 3, R, R]."""
    latents = draw_latents(SAMPLE_SEEDS, labels=pick_labels(state.generator_ema, SAMPLE_SEEDS))
    return render(state.generator_ema, latents, frame_times(SAMPLE_FRAMES))
