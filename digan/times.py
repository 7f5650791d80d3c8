"""The distribution of time pairs (DIGAN, Section 3.2, motion discriminator, and appendix).

a ~ Beta(2, 1) and b ~ Beta(1, 2); the pair is (min, max). A clip spans t in [0, 1]; frame i of n is at i / (n - 1).
"""

from __future__ import annotations

import torch


def draw_time_pairs(count: int, *, generator: torch.Generator) -> torch.Tensor:
    """``count`` pairs t_1 <= t_2, float32 [count, 2] in [0, 1].

    The larger of two uniform draws is Beta(2, 1), the smaller Beta(1, 2): exact, without a Beta sampler.
    """
    uniform = torch.rand(count, 4, generator=generator, device=generator.device)
    a = uniform[:, :2].amax(dim=1)
    b = uniform[:, 2:].amin(dim=1)
    return torch.stack([torch.minimum(a, b), torch.maximum(a, b)], dim=1)


def frame_indices(time_pairs: torch.Tensor, frames: int) -> torch.Tensor:
    """Frame indices of real pairs in an n-frame clip: floor(t n), int64, same shape, in 0 ... n - 1."""
    return (time_pairs * frames).floor().long().clamp(0, frames - 1)


def frame_times(frames: int) -> torch.Tensor:
    """Times i / (n - 1) of an n-frame video, float32 [n]; a single frame has time 0."""
    return torch.arange(frames, dtype=torch.float32) / max(frames - 1, 1)
