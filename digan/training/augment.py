"""DiffAugment for frame pairs: differentiable augmentation of real and fake frames (Zhao et al., 2020).

Both frames of a pair get the same draw. Each operation takes frames [B, 2, 3, H, W] and its draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

STEPS = ("color", "translation", "cutout")
SHIFT_SHARE = 0.125
CUTOUT_SHARE = 0.5


def _per_pair(draws: torch.Tensor) -> torch.Tensor:
    return draws.view(-1, 1, 1, 1, 1)


def brighten(frames: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Adds r - 0.5; r [B] in [0, 1)."""
    return frames + (_per_pair(r) - 0.5)


def saturate(frames: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Scales each pixel's distance from its mean over the channels by 2 r; r [B] in [0, 1)."""
    mean = frames.mean(dim=2, keepdim=True)
    return mean + (frames - mean) * (2.0 * _per_pair(r))


def contrast(frames: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Scales each frame's distance from its mean by r + 0.5; r [B] in [0, 1)."""
    mean = frames.mean(dim=(2, 3, 4), keepdim=True)
    return mean + (frames - mean) * (_per_pair(r) + 0.5)


def _shift_matrix(shift: torch.Tensor, size: int) -> torch.Tensor:
    """[B, size, size] with a one at (i, i + shift), so that a product with it moves rows and fills with zeros."""
    index = torch.arange(size, device=shift.device)
    return (index[None, None, :] == index[None, :, None] + shift[:, None, None]).float()


def translate(frames: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Output row i is input row i + down, column j is j + across, zero outside; int64 [B] each."""
    rows = _shift_matrix(down, frames.shape[3])[:, None, None]
    columns = _shift_matrix(across, frames.shape[4])[:, None, None]
    return rows @ frames @ columns.transpose(-1, -2)


def cut_out(frames: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Zeroes a square of half the frame's size around (down, across), clipped to the frame; int64 [B] each."""

    def inside(center: torch.Tensor, size: int) -> torch.Tensor:
        width = int(size * CUTOUT_SHARE + 0.5)
        offset = torch.arange(size, device=center.device)[None] - (center[:, None] - width // 2)
        return (offset >= 0) & (offset < width)

    hole = inside(down, frames.shape[3])[:, :, None] & inside(across, frames.shape[4])[:, None, :]
    return frames * (~hole)[:, None, None].to(frames.dtype)


def augment(frames: torch.Tensor, steps: Sequence[str], *, generator: torch.Generator) -> torch.Tensor:
    """Apply random ``steps`` (names from ``STEPS``) in order to frames [B, 2, 3, H, W]; returns the same shape."""
    batch, height, width, device = frames.shape[0], frames.shape[3], frames.shape[4], frames.device

    def uniform() -> torch.Tensor:
        return torch.rand(batch, generator=generator, device=generator.device).to(device)

    def integers(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high + 1, (batch,), generator=generator, device=generator.device).to(device)

    for step in steps:
        if step == "color":
            frames = contrast(saturate(brighten(frames, uniform()), uniform()), uniform())
        elif step == "translation":
            max_down, max_across = int(height * SHIFT_SHARE + 0.5), int(width * SHIFT_SHARE + 0.5)
            frames = translate(frames, integers(-max_down, max_down), integers(-max_across, max_across))
        elif step == "cutout":
            odd = (int(height * CUTOUT_SHARE + 0.5) % 2, int(width * CUTOUT_SHARE + 0.5) % 2)
            frames = cut_out(frames, integers(0, height - odd[0]), integers(0, width - odd[1]))
        else:
            raise AssertionError(step)
    return frames
