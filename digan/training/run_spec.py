"""What a training run is given: what to train, where it runs, and what it calls on the way."""

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
from digan.types import FramePair

# (update, seed) -> this worker's micro-batches of that update, of the next one, ...
Reader = Callable[[int, int], Iterator[list[FramePair]]]


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What to train: the two configs, and the reader of the real pairs."""

    training: TrainingConfig
    model: NetworkConfig
    reader: Reader


@dataclass(frozen=True, kw_only=True)
class TrainingPlacement:
    """Where to train: this worker among ``world_size``, its device, and the stores that all workers reach.

    Rank 0 writes to the stores; every rank reads a checkpoint from ``checkpoints`` when the run resumes.
    """

    rank: int
    world_size: int
    device: torch.device
    checkpoints: CheckpointStore
    snapshots: CheckpointStore


@dataclass(frozen=True, kw_only=True)
class TrainingHooks:
    """What the run calls on the way.

    - ``on_progress``: about every two seconds and after the last update, on every rank.
    - ``on_samples``: rank 0, at multiples of ``sample_interval``: clips seen, videos of fixed seeds uint8 [8, 8, 3, R, R].
    - ``on_notice``: rank 0, lines for the user.
    - ``on_checkpoint``: rank 0, once a checkpoint is written, and for the one the run resumes from: clips seen, EMA generator.
    """

    on_progress: Callable[[TrainingProgress], None]
    on_samples: Callable[[int, torch.Tensor], None]
    on_notice: Callable[[str], None] = logging.getLogger(__name__).warning
    on_checkpoint: Callable[[int, VideoGenerator], None] | None = None
