"""Divergence detection: NaN or infinity in metrics or weights, or a collapsed discriminator loss.

Checks run every ``CHECK_INTERVAL`` updates and before each output, so updates do not wait for the device. Metrics are
averaged over all workers, so every worker detects a divergence at the same update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from digan.errors import UserError
from digan.training.state import TrainingState

CHECK_INTERVAL = 32  # updates
MAX_ROLLBACKS = 3


class DivergedError(UserError):
    """Training diverged and stops; the message says when, how, and what to try."""


@dataclass(frozen=True, kw_only=True)
class TrainingDivergence:
    """``text`` says what diverged; ``last_good_clips`` is the last count of clips seen without it."""

    text: str
    last_good_clips: int


class DivergenceMonitor:
    """Accumulates metrics on the device and checks them for divergence."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Add the metrics of one update, without a device synchronization."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps += 1

    def check(self, state: TrainingState, *, weights: bool) -> TrainingDivergence | None:
        """The divergence since the last check, or ``None``; with ``weights``, the networks' weights are checked too."""
        if not self._steps:
            return None
        names = list(self._sums)
        values = torch.stack([self._sums[name].float() for name in names]).tolist()
        broken = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if weights:
            for network in ("generator", "discriminator"):
                buffer = getattr(state, f"{network}_buffer")
                broken += [] if bool(torch.isfinite(buffer.values).all()) else [f"weights of the {network}"]
        loss = dict(zip(names, values, strict=True)).get("loss/discriminator", math.inf) / self._steps
        before = state.clips_seen - self._steps * state.training.batch_size
        self._sums, self._steps = {}, 0
        if broken:
            return TrainingDivergence(text=f"NaN or infinity in {', '.join(broken)}", last_good_clips=before)
        training = state.training
        if not training.collapse_loss or loss >= training.collapse_loss:
            state.low_since = -1
            return None
        if state.low_since < 0:
            state.low_since = before
        if state.clips_seen - state.low_since < training.collapse_clips:
            return None
        return TrainingDivergence(
            text=f"the discriminator's loss has been below training.collapse_loss={training.collapse_loss} since "
            f"{state.low_since} clips",
            last_good_clips=state.low_since,
        )
