"""How fast a run goes and what it measured since one last asked; nothing is fetched from the device before."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from digan.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a run is: clips seen and in total, its rate since the last report, and means of the steps' metrics since then.

    ``waiting`` is the share of time spent on waiting for data, 0 to 1; ``seconds_left`` assumes the present rate.
    """

    clips_seen: int
    clips_total: int
    clips_per_second: float
    seconds_left: float
    waiting: float
    metrics: dict[str, float]


class RunningMetrics:
    """Gathers metrics on the device and turns them into a Progress now and then."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.begin()

    def begin(self) -> None:
        """Forget what was measured; time counts from now on."""
        self.started, self.clips, self.waited = time.monotonic(), self.state.clips_seen, 0.0
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def age(self) -> float:
        """Seconds since the last report."""
        return time.monotonic() - self.started

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """One update's metrics."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def report(self) -> TrainingProgress:
        """What was measured since the last report, and begin anew."""
        names = list(self._sums)
        sums = torch.stack([self._sums[name].float() for name in names]).tolist() if names else []
        seconds = max(self.age, 1e-9)
        rate = (self.state.clips_seen - self.clips) / seconds
        total = self.state.training.clips
        progress = TrainingProgress(
            clips_seen=self.state.clips_seen,
            clips_total=total,
            clips_per_second=rate,
            seconds_left=max(total - self.state.clips_seen, 0) / max(rate, 1e-9),
            waiting=min(self.waited / seconds, 1.0),
            metrics={name: value / self._counts[name] for name, value in zip(names, sums, strict=True)},
        )
        self.begin()
        return progress
