"""Frame pairs of clips for a training step: drawn times, frames scaled to [-1, 1], horizontal flips of whole clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_indices
from digan.types import FramePair


@dataclass(frozen=True, kw_only=True)
class PairDraw:
    """The random draw for a batch, made before decoding: ``frame_indices`` int64 [B, 2] in a clip, ``flips`` bool [B]."""

    frame_indices: torch.Tensor
    flips: torch.Tensor


def draw_pairs(
    batch: int, clip_frames: int, *, seed: int, reader_index: int, clips_seen: int, horizontal_flip: bool
) -> PairDraw:
    """Draw pairs for one reader's batch from (seed, reader, clips seen); ``horizontal_flip`` does not change the times."""
    generator = generator_for(seed, "pairs", reader_index, clips_seen)
    indices = frame_indices(draw_time_pairs(batch, generator=generator), clip_frames)
    flips = torch.rand(batch, generator=generator) < 0.5
    return PairDraw(frame_indices=indices, flips=flips & horizontal_flip)


def make_pair(frames_bthwc: np.ndarray, draw: PairDraw, clip_frames: int, labels: list[int] | None) -> FramePair:
    """Frames uint8 [B, 2, H, W, 3] -> ``FramePair``; both frames of a clip are flipped or neither.

    Times are index / (n - 1), so dt is the difference of frame indices over n - 1 (DIGAN, Section 3.2).
    """
    batch, two, height, width, channels = frames_bthwc.shape
    planes = np.empty((batch, two, channels, height, width), np.uint8)
    for channel in range(channels):  # make bytes contiguous first: dividing strided ones takes twice as long
        np.copyto(planes[:, :, channel], frames_bthwc[..., channel])
    pixels = np.divide(planes, np.float32(127.5), dtype=np.float32)
    pixels -= 1
    frames = torch.from_numpy(pixels)
    if draw.flips.any():
        frames[draw.flips] = frames[draw.flips].flip(-1)
    times = draw.frame_indices.float() / max(clip_frames - 1, 1)
    return FramePair(frames=frames, times=times, labels=None if labels is None else torch.tensor(labels))
