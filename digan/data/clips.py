"""Frames of a video to segments of square pictures: centre crop, anti-aliased resize, stride, windows.

A clip is a window of n successive frames (after the stride). A segment is a piece of a video that is stored as one
sample: its windows are the clips that begin in it. How a video is cut (spec, 'Clips'):
- ``every``: every window is a clip. The segments of a video share n - 1 frames with the next, so that every window lies
  in exactly one segment.
- ``apart``: successive windows without overlap, a segment each.
- ``phases``: successive stretches of n times the stride, each split into as many clips as the stride, one a phase.
What is left over at the end is no clip. Legend: H, W pixels of the video, R resolution, n frames of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from digan.errors import UserError

Cut = Literal["every", "apart", "phases"]
WEIGHT_BITS = 14  # resize weights are whole numbers that add up to 2^14, so sums are exact in float64 on every machine


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """The section ``clips`` of params.yaml."""

    resolution: int
    frames: int
    frame_stride: int
    validation_share: float

    def __post_init__(self) -> None:
        if self.resolution not in (32, 64, 128, 256, 512, 1024):
            near = min((32, 64, 128, 256, 512, 1024), key=lambda size: abs(size - self.resolution))
            raise UserError(f"clips.resolution={self.resolution}: must be a power of two from 32 to 1024; try {near}")
        if not 2 <= self.frames <= 4096:
            raise UserError(f"clips.frames={self.frames}: must be from 2 to 4096; try 16")
        if not 1 <= self.frame_stride <= 1000:
            raise UserError(f"clips.frame_stride={self.frame_stride}: must be from 1 to 1000; try 1")
        if not 0 < self.validation_share < 1:
            raise UserError(f"clips.validation_share={self.validation_share}: must lie between 0 and 1; try 0.2")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stored piece of a video: ``frames`` uint8 [S, R, R, 3] with S >= n, and the numbers these frames have in the
    video.
    """

    frames: np.ndarray
    numbers: tuple[int, ...]

    def windows(self, clip_frames: int) -> int:
        """How many clips of ``clip_frames`` frames begin in this segment."""
        return len(self.numbers) - clip_frames + 1


@lru_cache(maxsize=64)
def _weights(size: int, target: int) -> np.ndarray:
    """Bilinear weights of a resize with half-pixel centres, the triangle as wide as the reduction: float64 [target,
    size], whole numbers.
    """
    scale = size / target
    radius = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    triangle = np.clip(1 - np.abs(np.arange(size)[None] - centres[:, None]) / radius, 0, None)
    weights = np.round(triangle / triangle.sum(axis=1, keepdims=True) * 2**WEIGHT_BITS)
    weights[np.arange(target), weights.argmax(axis=1)] += 2**WEIGHT_BITS - weights.sum(axis=1)
    return weights


def square(frame_hwc: np.ndarray, resolution: int) -> np.ndarray:
    """The centre square of the short side, resized with anti-aliasing: uint8 [H, W, 3] -> uint8 [R, R, 3], equal on
    every machine.
    """
    height, width = frame_hwc.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = frame_hwc[top : top + side, left : left + side]
    if side == resolution:
        return np.ascontiguousarray(crop)
    weights = _weights(side, resolution)
    rows = weights @ crop.reshape(side, side * 3).astype(np.float64)  # [R, side * 3]
    both = weights @ rows.reshape(resolution, side, 3)  # [R, R, 3], scaled by 2^28
    return ((both + 2 ** (2 * WEIGHT_BITS - 1)) // 2 ** (2 * WEIGHT_BITS)).astype(np.uint8)


def segments(frames: Iterable[np.ndarray], config: ClipsConfig, cut: Cut = "every") -> Iterator[Segment]:
    """Cut a video into segments; one shorter than ``frames_needed`` gives none.

    Holds one segment (``phases``: one stretch) in memory at a time, however long the video is.
    """
    return _overlapping(frames, config) if cut == "every" else _separate(frames, config, phases=cut == "phases")


def frames_needed(config: ClipsConfig, cut: Cut) -> int:
    """How many frames a video must have to give a clip."""
    if cut == "phases":
        return config.frames * config.frame_stride
    return (config.frames - 1) * config.frame_stride + 1


def _overlapping(frames: Iterable[np.ndarray], config: ClipsConfig) -> Iterator[Segment]:
    """Segments of at most ``segment_windows`` windows, with every window of the video in one of them."""
    most = segment_windows(config.frames) + config.frames - 1
    pictures: list[np.ndarray] = []
    numbers: list[int] = []
    fresh = False  # whether something was added since the last segment went out
    for number, frame in enumerate(frames):
        if number % config.frame_stride:
            continue
        pictures.append(square(frame, config.resolution))
        numbers.append(number)
        fresh = True
        if len(pictures) == most:
            yield Segment(frames=np.stack(pictures), numbers=tuple(numbers))
            pictures, numbers = pictures[-(config.frames - 1) :], numbers[-(config.frames - 1) :]
            fresh = False
    if fresh and len(pictures) >= config.frames:
        yield Segment(frames=np.stack(pictures), numbers=tuple(numbers))


def _separate(frames: Iterable[np.ndarray], config: ClipsConfig, *, phases: bool) -> Iterator[Segment]:
    """Segments of one window each, none of which shares a frame with another."""
    step = config.frame_stride if phases else 1
    pictures: list[np.ndarray] = []
    numbers: list[int] = []
    for number, frame in enumerate(frames):
        if not phases and number % config.frame_stride:
            continue
        pictures.append(square(frame, config.resolution))
        numbers.append(number)
        if len(pictures) == config.frames * step:
            for phase in range(step):
                yield Segment(frames=np.stack(pictures[phase::step]), numbers=tuple(numbers[phase::step]))
            pictures, numbers = [], []


def segment_windows(clip_frames: int) -> int:
    """The most windows that a segment holds: three times the frames it has to share with its neighbour, at least 16."""
    return max(16, 3 * clip_frames)
