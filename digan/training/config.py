"""The section ``training`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from digan.training.augment import STEPS

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the networks are trained; units and sources stand beside each key in params.yaml."""

    seed: int
    clips: int
    batch_size: int
    generator_lr: float
    discriminator_lr: float
    r1_gamma: float
    r1_interval: int
    generator_interval: int
    augment: str
    mirror: bool
    ema_half_life: float
    ema_ramp: float
    style_mixing: float
    path_length_weight: float
    precision: str
    checkpoint_interval: int
    checkpoints_kept: int
    sample_interval: int
    snapshot_interval: int
    snapshots_kept: int

    def __post_init__(self) -> None:
        for name in (
            "clips",
            "batch_size",
            "r1_interval",
            "generator_interval",
            "checkpoint_interval",
            "checkpoints_kept",
            "sample_interval",
            "snapshot_interval",
            "snapshots_kept",
        ):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("generator_lr", "discriminator_lr", "ema_half_life"):
            self._require(name, getattr(self, name) > 0, "must be above 0")
        for name in ("r1_gamma", "path_length_weight", "ema_ramp"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require("seed", self.seed >= 0, "must not be negative")
        self._require("style_mixing", 0 <= self.style_mixing <= 1, "is a probability, from 0 to 1")
        self._require("precision", self.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}")
        for step in self.augment_steps:
            self._require("augment", step in STEPS, f"{step!r} is no DiffAugment step; known: {', '.join(STEPS)}")

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise UserError(f"training.{name}={getattr(self, name)!r}: {remedy}")

    @property
    def augment_steps(self) -> tuple[str, ...]:
        """The names in ``augment``, in order; empty when it is off."""
        return tuple(part.strip() for part in self.augment.split(",") if part.strip())
