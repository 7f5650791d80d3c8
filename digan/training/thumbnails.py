"""A coarse distance that costs next to nothing: do generated pairs, seen as 8x8 thumbnails, have the real ones' mean and spread?

It decides which checkpoint is kept as the best while a run goes on. It sees colours, layout and the size of motion, no shapes,
and is no FVD.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from digan.training.state import THUMBNAIL, THUMBNAIL_FEATURES


def features(frames_b2chw: torch.Tensor) -> torch.Tensor:
    """Pairs [B, 2, 3, H, W] in [-1, 1] -> float32 [B, F]: both frames' mean at 8x8, and the difference between them."""
    small = F.adaptive_avg_pool2d(frames_b2chw.flatten(0, 1).float(), THUMBNAIL).view(frames_b2chw.shape[0], 2, -1)
    return torch.cat([small.mean(dim=1), small[:, 1] - small[:, 0]], dim=1)


def follow(moments: torch.Tensor, found: torch.Tensor) -> None:
    """Adds features [B, F] to the running ``moments``, float64 [1 + 2 F]: count, sums, sums of squares."""
    values = found.double()
    moments[0] += found.shape[0]
    moments[1 : 1 + THUMBNAIL_FEATURES] += values.sum(dim=0)
    moments[1 + THUMBNAIL_FEATURES :] += values.square().sum(dim=0)


def distance(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Frechet distance between the two as Gaussians with independent features: |mean - mean|^2 + |std - std|^2."""

    def gaussian(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = moments[1 : 1 + THUMBNAIL_FEATURES] / moments[0]
        variance = moments[1 + THUMBNAIL_FEATURES :] / moments[0] - mean.square()
        return mean, variance.clamp(min=0).sqrt()

    (mean, spread), (other_mean, other_spread) = gaussian(real), gaussian(fake)
    return (mean - other_mean).square().sum() + (spread - other_spread).square().sum()
