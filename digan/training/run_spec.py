"""The arguments of ``loop.train``: what to train, where to run, and which callbacks to call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.training.checkpoint import CheckpointStore
from digan.training.config import TrainingConfig
from digan.training.running_metrics import TrainingProgress
from digan.training.start_weights import StartWeights
from digan.types import FramePair

# (update, seed) -> iterator over updates from that one on; each item holds this worker's micro-batches
Reader = Callable[[int, int], Iterator[list[FramePair]]]


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What to train: the configs and the reader of real pairs. ``classes`` are the classes' names, for snapshots;
    ``start`` has the weights to begin with at clip 0, ``None`` for random ones.
    """

    training: TrainingConfig
    model: NetworkConfig
    reader: Reader
    classes: tuple[str, ...] = ()
    start: StartWeights | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingPlacement:
    """Where to train: rank, world size, device, and the stores, which every worker can access.

    Rank 0 writes to the stores; every rank reads from ``checkpoints`` when the run resumes.
    """

    rank: int
    world_size: int
    device: torch.device
    checkpoints: CheckpointStore
    snapshots: CheckpointStore


@dataclass(frozen=True, kw_only=True)
class TrainingHooks:
    """Callbacks of a training run.

    - ``on_progress(progress)``: every rank, about every two seconds and after the last update.
    - ``on_samples(clips_seen, videos)``: rank 0, every ``sample_interval`` clips; uint8 [8, 8, 3, R, R] of fixed seeds.
    - ``on_notice(text)``: rank 0, a line for the user.
    - ``on_checkpoint(clips_seen, generator_ema)``: rank 0, after a checkpoint is written, and when the run resumes.
    """

    on_progress: Callable[[TrainingProgress], None]
    on_samples: Callable[[int, torch.Tensor], None]
    on_notice: Callable[[str], None] = logging.getLogger(__name__).warning
    on_checkpoint: Callable[[int, VideoGenerator], None] | None = None
