"""Exponential moving average (EMA) of the generator's weights, with a half-life in clips (StyleGAN2, training details)."""

from __future__ import annotations

REFERENCE_BATCH = 64


def ema_decay(*, batch: int, clips_seen: int, half_life: float, ramp: float) -> float:
    """What one update of ``batch`` clips leaves of the old average.

    The half-life is ``half_life`` clips at batch 64 and grows with the batch; early on it is at most ``ramp`` times the clips seen.
    ``ramp`` 0 turns the ramp off. At the start nothing is left: the average is the first weights themselves.
    """
    clips = half_life * batch / REFERENCE_BATCH
    if ramp > 0:
        clips = min(clips, ramp * clips_seen)
    return 0.5 ** (batch / max(clips, 1e-8))
