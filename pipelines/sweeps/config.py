"""The section ``tune`` of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digan.errors import UserError

SCHEDULERS = ("none", "asha", "pbt")
SEARCHES = ("random", "grid", "optuna")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How params.yaml is swept; the keys are explained there. ``space`` maps dotted names to ``{kind: arguments}``."""

    scheduler: str
    search: str
    trials: int
    seed: int
    clips: int
    grace_period: int
    reduction_factor: float
    videos: int
    workers: int
    gpu_share: float
    max_concurrent_trials: int
    budget: int
    max_failures: int
    space: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, known in (("scheduler", SCHEDULERS), ("search", SEARCHES)):
            self._require(name, getattr(self, name) in known, f"must be one of {', '.join(known)}")
        for name, least in (("trials", 1), ("grace_period", 1), ("videos", 2), ("workers", 1)):
            self._require(name, getattr(self, name) >= least, f"must be at least {least}")
        for name in ("seed", "clips", "max_concurrent_trials", "budget", "max_failures"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require(
            "reduction_factor", self.reduction_factor > 1, "must be above 1: of so many trials one goes on; try 3"
        )
        self._require(
            "gpu_share", 0 < self.gpu_share <= 1, "must be above 0 and at most 1; 0.5 puts two trials on a GPU"
        )
        if self.gpu_share < 1:
            self._require("workers", self.workers == 1, f"must be 1 with tune.gpu_share={self.gpu_share}")
        if self.scheduler == "pbt":
            self._require("search", self.search == "random", "must be random with tune.scheduler=pbt, which mutates")
            self._require("trials", self.trials >= 2, "must be at least 2 with tune.scheduler=pbt, a population")

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise UserError(f"tune.{name}={getattr(self, name)}: {remedy}")

    def length(self, training_clips: int) -> int:
        """Clips of one whole trial."""
        return self.clips or training_clips
