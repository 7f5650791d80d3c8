"""Clips to the pairs of frames that a training step sees: times by the law, frames to [-1, 1], flips of whole clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_numbers
from digan.types import FramePair


@dataclass(frozen=True, kw_only=True)
class PairDraw:
    """What is drawn for a batch before any picture is decoded: ``numbers`` int64 [B, 2] in a clip, ``flips`` bool
    [B].
    """

    numbers: torch.Tensor
    flips: torch.Tensor


def draw_pairs(batch: int, clip_frames: int, *, seed: int, rank: int, clips_seen: int, mirror: bool) -> PairDraw:
    """The draw of one rank's batch, a function of its place alone; the times do not depend on ``mirror``."""
    generator = generator_for(seed, "pairs", rank, clips_seen)
    numbers = frame_numbers(draw_time_pairs(batch, generator=generator), clip_frames)
    flips = torch.rand(batch, generator=generator) < 0.5
    return PairDraw(numbers=numbers, flips=flips & mirror)


def make_pair(frames_bthwc: np.ndarray, draw: PairDraw, clip_frames: int, labels: list[int] | None) -> FramePair:
    """uint8 [B, 2, H, W, 3] -> ``FramePair``; both frames of a clip are flipped or neither. Times are frame / (n -
    1), so dt is the spec's.
    """
    frames = torch.from_numpy(frames_bthwc).permute(0, 1, 4, 2, 3).float().div_(127.5).sub_(1)
    frames = torch.where(draw.flips[:, None, None, None, None], frames.flip(-1), frames).contiguous()
    times = draw.numbers.float() / max(clip_frames - 1, 1)
    return FramePair(frames=frames, times=times, labels=None if labels is None else torch.tensor(labels))
