"""Data types shared by all packages; shapes are checked on construction.

Legend: B batch, T times, C channels, H, W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Successive frames of one video.

    ``frames`` is uint8 [T, 3, H, W], ``label`` the class's number or ``None``; ``name`` identifies the clip in messages.
    """

    frames: torch.Tensor
    label: int | None
    name: str

    def __post_init__(self) -> None:
        assert self.frames.dtype == torch.uint8, self.frames.dtype
        assert self.frames.ndim == 4 and self.frames.shape[1] == 3, tuple(self.frames.shape)


@dataclass(frozen=True, kw_only=True)
class FramePair:
    """Two frames of each clip of a batch, with their times: what a training step sees of a video.

    ``frames`` is float32 [B, 2, 3, H, W] in [-1, 1], earlier frame first; ``times`` is float32 [B, 2] in [0, 1];
    ``labels`` is int64 [B] or ``None`` where the data has no classes.
    """

    frames: torch.Tensor
    times: torch.Tensor
    labels: torch.Tensor | None

    def __post_init__(self) -> None:
        batch = self.frames.shape[0]
        assert self.frames.ndim == 5 and self.frames.shape[1:3] == (2, 3), tuple(self.frames.shape)
        assert self.times.shape == (batch, 2), tuple(self.times.shape)
        assert self.labels is None or self.labels.shape == (batch,), tuple(self.labels.shape)

    def to(self, device: torch.device | str) -> FramePair:
        """The same pair on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, frames=self.frames.to(device), times=self.times.to(device), labels=labels)

    def slice(self, start: int, stop: int) -> FramePair:
        """Samples ``start`` to ``stop - 1``, as views."""
        labels = None if self.labels is None else self.labels[start:stop]
        return FramePair(frames=self.frames[start:stop], times=self.times[start:stop], labels=labels)


@dataclass(frozen=True, kw_only=True)
class Latents:
    """The generator's input: ``content`` z [B, 512], ``motion`` z_m [B, 512], ``labels`` int64 [B] or ``None``."""

    content: torch.Tensor
    motion: torch.Tensor
    labels: torch.Tensor | None

    def __post_init__(self) -> None:
        assert self.content.ndim == self.motion.ndim == 2, (tuple(self.content.shape), tuple(self.motion.shape))
        assert self.content.shape[0] == self.motion.shape[0]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Discriminator logits: ``image`` [2B, 1], pair by pair with the earlier frame first; ``motion`` [B, 1]."""

    image: torch.Tensor
    motion: torch.Tensor
