"""Rate and mean metrics of a run since the last report, accumulated on the device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from digan.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Progress of a run: clips seen and in total, and rate and mean metrics since the previous report.

    ``waiting`` is the fraction of time spent waiting for data; ``seconds_left`` assumes the current rate.
    """

    clips_seen: int
    clips_total: int
    clips_per_second: float
    seconds_left: float
    waiting: float
    metrics: dict[str, float]


class RunningMetrics:
    """Accumulates metrics on the device and reports them as ``TrainingProgress``."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.reset()

    def reset(self) -> None:
        """Drop what was accumulated and restart the clock."""
        self.started, self.clips_at_start, self.waited = time.monotonic(), self.state.clips_seen, 0.0
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def age(self) -> float:
        """Seconds since the last report."""
        return time.monotonic() - self.started

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Add the metrics of one update."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def report(self) -> TrainingProgress:
        """Progress since the last report; resets."""
        names = list(self._sums)
        sums = torch.stack([self._sums[name].float() for name in names]).tolist() if names else []
        seconds = max(self.age, 1e-9)
        rate = (self.state.clips_seen - self.clips_at_start) / seconds
        total = self.state.training.clips
        progress = TrainingProgress(
            clips_seen=self.state.clips_seen,
            clips_total=total,
            clips_per_second=rate,
            seconds_left=max(total - self.state.clips_seen, 0) / max(rate, 1e-9),
            waiting=min(self.waited / seconds, 1.0),
            metrics={name: value / self._counts[name] for name, value in zip(names, sums, strict=True)},
        )
        self.reset()
        return progress
