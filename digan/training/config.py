"""The ``training`` section of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from digan.training.augment import STEPS

PRECISIONS = ("fp32", "tf32", "bf16")
ON_DIVERGENCE = ("stop", "rollback")
MOTION_GROUP = 4  # group size of the minibatch standard deviation: min(4, micro_batch)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training settings; params.yaml documents the unit and source of each.

    ``generator_interval`` is the number of updates between path length penalties, ``r1_interval`` between R1 penalties.
    With k the interval, the network's Adam gets lr k / (k + 1) and betas to the power k / (k + 1) (lazy regularization),
    even when its penalty is off.
    """

    seed: int
    start_from: str
    clips: int
    batch_size: int
    micro_batch: int
    generator_lr: float
    discriminator_lr: float
    r1_gamma: float
    r1_interval: int
    generator_interval: int
    augment: str
    horizontal_flip: bool
    ema_half_life: float
    ema_ramp: float
    style_mixing: float
    path_length_weight: float
    mismatch_weight: float
    precision: str
    compile: bool
    deterministic: bool
    on_divergence: str
    collapse_loss: float
    collapse_clips: int
    checkpoint_interval: int
    checkpoints_kept: int
    sample_interval: int
    snapshot_interval: int
    snapshots_kept: int

    def __post_init__(self) -> None:
        for name in (
            "clips",
            "batch_size",
            "micro_batch",
            "r1_interval",
            "generator_interval",
            "checkpoint_interval",
            "checkpoints_kept",
            "sample_interval",
            "snapshot_interval",
            "snapshots_kept",
            "collapse_clips",
        ):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("generator_lr", "discriminator_lr", "ema_half_life"):
            self._require(name, getattr(self, name) > 0, "must be above 0")
        for name in ("r1_gamma", "path_length_weight", "mismatch_weight", "ema_ramp", "collapse_loss"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require("seed", self.seed >= 0, "must not be negative")
        self._require("style_mixing", 0 <= self.style_mixing <= 1, "is a probability, from 0 to 1")
        self._require("precision", self.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}")
        self._require(
            "on_divergence", self.on_divergence in ON_DIVERGENCE, f"must be one of {', '.join(ON_DIVERGENCE)}"
        )
        if self.batch_size % self.micro_batch:
            near = [m for m in range(self.batch_size, 0, -1) if not self.batch_size % m and m <= self.micro_batch]
            self._require(
                "batch_size",
                False,
                f"must be a multiple of training.micro_batch={self.micro_batch}; try training.micro_batch={near[0]}",
            )
        group = MOTION_GROUP
        self._require(
            "micro_batch",
            self.micro_batch <= group or not self.micro_batch % group,
            f"must be a multiple of the discriminator's group of {group}; try {max(group, self.micro_batch - self.micro_batch % group)}",
        )
        mismatched = self.mismatch_weight > 0 and self.micro_batch == 1
        self._require(
            "mismatch_weight",
            not mismatched,
            "takes dt from another pair of the micro-batch; try training.micro_batch=2, or 0",
        )
        for step in self.augment_steps:
            self._require(
                "augment", step in STEPS, f"{step!r} is not a DiffAugment operation; choose from {', '.join(STEPS)}"
            )

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise UserError(f"training.{name}={getattr(self, name)!r}: {remedy}")

    @property
    def micro_batches(self) -> int:
        """Micro-batches per update, which is also the maximum number of workers."""
        return self.batch_size // self.micro_batch

    @property
    def augment_steps(self) -> tuple[str, ...]:
        """The operations in ``augment``, in order; empty if augmentation is off."""
        return tuple(part.strip() for part in self.augment.split(",") if part.strip())
