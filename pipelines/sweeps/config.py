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
    """Settings of a sweep, explained in params.yaml. ``space`` maps dotted names to ``{kind: arguments}``."""

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
        pbt, factor, share = self.scheduler == "pbt", self.reduction_factor, self.gpu_share
        known = {"scheduler": SCHEDULERS, "search": SEARCHES}
        least = {"trials": 1, "grace_period": 1, "videos": 2, "workers": 1}
        natural = ("seed", "clips", "max_concurrent_trials", "budget", "max_failures")
        for name, valid, remedy in (
            *((k, getattr(self, k) in names, f"must be one of {', '.join(names)}") for k, names in known.items()),
            *((k, getattr(self, k) >= low, f"must be at least {low}") for k, low in least.items()),
            *((k, getattr(self, k) >= 0, "must not be negative") for k in natural),
            ("reduction_factor", factor > 1, "must be above 1: one trial in so many continues; try 3"),
            ("gpu_share", 0 < share <= 1, "must be above 0 and at most 1; 0.5 puts two trials on a GPU"),
            ("workers", share == 1 or self.workers == 1, f"must be 1 with tune.gpu_share={share}"),
            ("search", not pbt or self.search == "random", "must be random with tune.scheduler=pbt"),
            ("trials", not pbt or self.trials >= 2, "must be at least 2 with tune.scheduler=pbt"),
        ):
            if not valid:
                raise UserError(f"tune.{name}={getattr(self, name)}: {remedy}")
