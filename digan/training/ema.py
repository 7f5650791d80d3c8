"""Exponential moving average (EMA) of the generator's weights, with a half-life in clips (StyleGAN2, training details)."""

from __future__ import annotations

REFERENCE_BATCH = 64


def ema_decay(*, batch: int, clips_seen: int, half_life: float, ramp: float) -> float:
    """EMA decay for one update of ``batch`` clips.

    The half-life is ``half_life`` clips at batch 64, proportional to the batch, and at most ``ramp`` * ``clips_seen``
    (0: no ramp). The decay of the first update is 0: the EMA starts as a copy of the weights.
    """
    clips = half_life * batch / REFERENCE_BATCH
    if ramp > 0:
        clips = min(clips, ramp * clips_seen)
    return 0.5 ** (batch / max(clips, 1e-8))
