"""Notices a run that has gone wrong: NaN or infinity anywhere, or a discriminator that has won for good.

Looks every ``STEPS`` updates and before each checkpoint, so a step itself never waits for the device. What it looks at is averaged
over all workers, so all come to the same verdict at the same step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from digan.errors import UserError
from digan.training.state import TrainingState

STEPS = 32
MOST_ROLLBACKS = 3


class DivergedError(UserError):
    """The run has gone wrong and stops; the text says where, how, and what can be tried."""


@dataclass(frozen=True, kw_only=True)
class TrainingDivergence:
    """``text`` names what is wrong; the last moment at which it was not yet wrong is ``good_until`` clips."""

    text: str
    last_good_clips: int


class DivergenceMonitor:
    """Gathers the losses of the updates since it last looked."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """One update's metrics; nothing is fetched from the device."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps += 1

    def look(self, state: TrainingState, *, weights: bool) -> TrainingDivergence | None:
        """What is wrong, or ``None``; with ``weights`` they are looked through as well (before a checkpoint)."""
        if not self._steps:
            return None
        names = list(self._sums)
        values = torch.stack([self._sums[name].float() for name in names]).tolist()
        broken = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if weights:
            for network in ("generator", "discriminator"):
                flat = getattr(state, f"{network}_buffer")
                broken += [] if bool(torch.isfinite(flat.values).all()) else [f"weights of the {network}"]
        loss = dict(zip(names, values, strict=True)).get("loss/discriminator", math.inf) / self._steps
        before = state.clips_seen - self._steps * state.training.batch_size
        self._sums, self._steps = {}, 0
        if broken:
            return TrainingDivergence(text=f"NaN or infinity in {', '.join(broken)}", last_good_clips=before)
        rule = state.training
        if not rule.collapse_loss or loss >= rule.collapse_loss:
            state.low_since = -1
            return None
        if state.low_since < 0:
            state.low_since = before
        if state.clips_seen - state.low_since < rule.collapse_clips:
            return None
        return TrainingDivergence(
            text=f"the discriminator has won: its loss is below training.collapse_loss={rule.collapse_loss} since "
            f"{state.low_since} clips",
            last_good_clips=state.low_since,
        )
