"""Frames of a video to segments of square pictures: centre crop, anti-aliased resize, stride, windows.

A clip is a window of n successive frames (after the stride). A segment is a piece of a video that is stored as one
sample: its windows are the clips that begin in it. How a video is cut (DIGAN, experimental setup of each data set):
- ``every``: every window is a clip. The segments of a video share n - 1 frames with the next, so that every window lies
  in exactly one segment.
- ``apart``: successive windows without overlap, a segment each.
- ``phases``: successive stretches of n times the stride, each split into as many clips as the stride, one a phase.
What is left over at the end is no clip. Legend: H, W pixels of the video, R resolution, n frames of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, groupby
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from digan.errors import UserError

WindowMode = Literal["overlapping", "disjoint", "phases"]
AT_ONCE = 2**21  # bytes of pictures that are resized together, so that they stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """The section ``clips`` of params.yaml."""

    resolution: int
    frames: int
    frame_stride: int
    fps: float
    min_frames: int
    drop_static: float
    drop_black: float
    validation_share: float

    def __post_init__(self) -> None:
        if self.resolution not in (32, 64, 128, 256, 512, 1024):
            near = min((32, 64, 128, 256, 512, 1024), key=lambda size: abs(size - self.resolution))
            raise UserError(f"clips.resolution={self.resolution}: must be a power of two from 32 to 1024; try {near}")
        if not 2 <= self.frames <= 4096:
            raise UserError(f"clips.frames={self.frames}: must be from 2 to 4096; try 16")
        if not 1 <= self.frame_stride <= 1000:
            raise UserError(f"clips.frame_stride={self.frame_stride}: must be from 1 to 1000; try 1")
        if not 0 <= self.fps <= 240:
            raise UserError(f"clips.fps={self.fps}: must be from 0 (the videos' own rate) to 240; try 25")
        if not 0 <= self.min_frames <= 10_000_000:
            raise UserError(f"clips.min_frames={self.min_frames}: must not be negative; try 0, what a clip needs")
        for name in ("drop_static", "drop_black"):
            if not 0 <= getattr(self, name) < 255:
                raise UserError(f"clips.{name}={getattr(self, name)}: must be from 0 (keep all) to below 255; try 1")
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


def square(frame_hwc: np.ndarray, resolution: int) -> np.ndarray:
    """The centre square of the short side, resized with anti-aliasing (a triangle as wide as the reduction): uint8
    [H, W, 3] -> uint8 [R, R, 3]. torch sums in whole numbers, so it is equal on every machine, and within one level of Pillow.
    """
    return _resized(_centre(frame_hwc)[None], resolution)[0]


def _centre(frame_hwc: np.ndarray) -> np.ndarray:
    height, width = frame_hwc.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame_hwc[top : top + side, left : left + side]


def _resized(squares: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 [N, S, S, 3] -> uint8 [N, R, R, 3], the input's own memory where the sizes are equal."""
    if squares.shape[1] == resolution:
        return np.ascontiguousarray(squares)
    pictures = torch.from_numpy(np.require(squares, requirements=("C", "W"))).permute(0, 3, 1, 2)
    pictures = pictures.contiguous(memory_format=torch.channels_last)  # the fast way; as they lie already
    resized = F.interpolate(pictures, size=(resolution, resolution), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous().numpy()


def _squares(frames: Iterable[tuple[int, np.ndarray]], resolution: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number, frame) -> (number, ``square`` of it), some at once, which takes half of the time."""
    waiting: list[tuple[int, np.ndarray]] = []

    def flushed() -> Iterator[tuple[int, np.ndarray]]:
        if waiting:
            yield from zip(
                [number for number, _ in waiting], _resized(np.stack([s for _, s in waiting]), resolution), strict=True
            )
        waiting.clear()

    for number, frame in frames:
        crop = _centre(frame)
        if waiting and (waiting[0][1].shape != crop.shape or len(waiting) * crop.nbytes >= AT_ONCE):
            yield from flushed()
        waiting.append((number, crop))
    yield from flushed()


def segments(
    frames: Iterable[np.ndarray],
    config: ClipsConfig,
    window_mode: WindowMode = "overlapping",
    *,
    numbers: Iterable[int] | None = None,
) -> Iterator[Segment]:
    """Cut a video into segments; one shorter than ``frames_needed`` gives none.

    ``numbers`` are the frames' own in the video, 0, 1, 2, ... if not given. Stretches without motion or light are
    left out as ``config`` says, and no clip goes across them. Holds one segment (``phases``: one stretch) in memory at
    a time, however long the video is.
    """
    step = 1 if window_mode == "phases" else config.frame_stride
    numbered = zip(count() if numbers is None else numbers, frames, strict=False)
    chosen = _squares((each for place, each in enumerate(numbered) if place % step == 0), config.resolution)
    for _, part in groupby(_lively(chosen, config), key=lambda each: each[0]):
        scene = ((number, picture) for _, number, picture in part)
        yield from (
            _overlapping(scene, config)
            if window_mode == "overlapping"
            else _separate(scene, config, phases=window_mode == "phases")
        )


def _lively(frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig) -> Iterator[tuple[int, int, np.ndarray]]:
    """(scene, number, frame) without stretches of a clip's length or more in which nothing moves or all is black."""
    if not config.drop_static and not config.drop_black:
        yield from ((0, number, frame) for number, frame in frames)
        return
    scene = 0
    dead: list[tuple[int, np.ndarray]] = []  # frames that are left out if they become a clip's length
    dropping = False
    last: np.ndarray | None = None
    for number, frame in frames:
        level = frame.astype(np.int16)
        still = last is not None and config.drop_static > 0 and np.abs(level - last).mean() < config.drop_static
        last = level
        if still or (config.drop_black > 0 and frame.mean() < config.drop_black):
            dead = [] if dropping else [*dead, (number, frame)]
            dropping = dropping or len(dead) >= config.frames
            continue
        if dropping:
            scene += 1
        else:
            yield from ((scene, *each) for each in dead)
        dead, dropping = [], False
        yield scene, number, frame
    if not dropping:
        yield from ((scene, *each) for each in dead)


def frames_needed(config: ClipsConfig, window_mode: WindowMode) -> int:
    """How many frames a video must have to give a clip."""
    if window_mode == "phases":
        return config.frames * config.frame_stride
    return (config.frames - 1) * config.frame_stride + 1


def _overlapping(frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig) -> Iterator[Segment]:
    """Segments of at most ``segment_windows`` windows, with every window of the video in one of them."""
    most = segment_windows(config.frames) + config.frames - 1
    pictures: list[np.ndarray] = []
    numbers: list[int] = []
    fresh = False  # whether something was added since the last segment went out
    for number, picture in frames:
        pictures.append(picture)
        numbers.append(number)
        fresh = True
        if len(pictures) == most:
            yield Segment(frames=np.stack(pictures), numbers=tuple(numbers))
            pictures, numbers = pictures[-(config.frames - 1) :], numbers[-(config.frames - 1) :]
            fresh = False
    if fresh and len(pictures) >= config.frames:
        yield Segment(frames=np.stack(pictures), numbers=tuple(numbers))


def _separate(frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig, *, phases: bool) -> Iterator[Segment]:
    """Segments of one window each, none of which shares a frame with another."""
    step = config.frame_stride if phases else 1
    pictures: list[np.ndarray] = []
    numbers: list[int] = []
    for number, picture in frames:
        pictures.append(picture)
        numbers.append(number)
        if len(pictures) == config.frames * step:
            for phase in range(step):
                yield Segment(frames=np.stack(pictures[phase::step]), numbers=tuple(numbers[phase::step]))
            pictures, numbers = [], []


def segment_windows(clip_frames: int) -> int:
    """The most windows that a segment holds: three times the frames it has to share with its neighbour, at least 16."""
    return max(16, 3 * clip_frames)
