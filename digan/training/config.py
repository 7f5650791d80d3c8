"""The section ``training`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from digan.training.augment import STEPS

PRECISIONS = ("fp32", "tf32", "bf16")
ON_DIVERGENCE = ("stop", "rollback")
MOTION_GROUP = 4  # samples over which the discriminator takes its minibatch deviation: min(4, micro_batch)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the networks are trained; params.yaml gives each key's unit and source.

    ``r1_interval`` and ``generator_interval`` also scale the Adam rate and betas of D and G by k / (k + 1), whether or not the
    penalty that they space is on.
    """

    seed: int
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
                f"must divide by training.micro_batch={self.micro_batch}; try micro_batch={near[0]}",
            )
        group = MOTION_GROUP
        self._require(
            "micro_batch",
            self.micro_batch <= group or not self.micro_batch % group,
            f"must divide by the discriminator's group of {group}; try {max(group, self.micro_batch - self.micro_batch % group)}",
        )
        mismatched = self.mismatch_weight > 0 and self.micro_batch == 1
        self._require(
            "mismatch_weight", not mismatched, "takes dt from another pair of the micro-batch; try micro_batch=2, or 0"
        )
        for step in self.augment_steps:
            self._require("augment", step in STEPS, f"{step!r} is no DiffAugment step; known: {', '.join(STEPS)}")

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise UserError(f"training.{name}={getattr(self, name)!r}: {remedy}")

    @property
    def micro_batches(self) -> int:
        """How many micro-batches make an update; at most as many workers can share it."""
        return self.batch_size // self.micro_batch

    @property
    def augment_steps(self) -> tuple[str, ...]:
        """The names in ``augment``, in order; empty when it is off."""
        return tuple(part.strip() for part in self.augment.split(",") if part.strip())
