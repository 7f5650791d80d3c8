"""The distribution of time pairs (DIGAN, Section 3.2, motion discriminator, and appendix).

a ~ Beta(2, 1) and b ~ Beta(1, 2); the pair is (min, max). A video spans t in [0, 1], its n frames lie at i / (n - 1).
"""

from __future__ import annotations

import torch


def draw_time_pairs(count: int, *, generator: torch.Generator) -> torch.Tensor:
    """``count`` pairs t_1 <= t_2, float32 [count, 2] in [0, 1].

    Beta(2, 1) is the larger and Beta(1, 2) the smaller of two uniform draws, which is exact and needs no other sampler.
    """
    uniform = torch.rand(count, 4, generator=generator, device=generator.device)
    a = uniform[:, :2].amax(dim=1)
    b = uniform[:, 2:].amin(dim=1)
    return torch.stack([torch.minimum(a, b), torch.maximum(a, b)], dim=1)


def frame_numbers(time_pairs: torch.Tensor, frames: int) -> torch.Tensor:
    """The frames of an n-frame clip that a real pair shows: floor(t n), int64, same shape, in 0 ... n - 1."""
    return (time_pairs * frames).floor().long().clamp(0, frames - 1)


def frame_times(frames: int) -> torch.Tensor:
    """The times i / (n - 1) of an n-frame video, float32 [n]; one frame lies at 0."""
    return torch.arange(frames, dtype=torch.float32) / max(frames - 1, 1)
