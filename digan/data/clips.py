"""Video frames to segments of square frames: center crop, antialiased resize, stride, windows.

A clip is a window of n successive frames (after the stride). A segment is a piece of a video stored as one sample; its
clips are the windows of its frames. Window modes (DIGAN, experimental setup of each data set):
- ``overlapping``: every window is a clip. Successive segments share n - 1 frames, so each window is in exactly one.
- ``disjoint``: successive windows without overlap, one segment each.
- ``phases``: successive stretches of n * stride frames, each split into ``stride`` interleaved clips.
Frames left over at the end are dropped. Legend: H, W pixels of the video, R resolution, n frames of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from digan.errors import UserError

WindowMode = Literal["overlapping", "disjoint", "phases"]
RESIZE_BYTES = 2**21  # bytes of frames resized together: small enough to stay in the CPU cache


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
            raise UserError(f"clips.fps={self.fps}: must be from 0 (each video's own rate) to 240; try 25")
        if not 0 <= self.min_frames <= 10_000_000:
            raise UserError(
                f"clips.min_frames={self.min_frames}: must be from 0 (no minimum beyond a clip) to 10000000; try 0"
            )
        for name in ("drop_static", "drop_black"):
            if not 0 <= getattr(self, name) < 255:
                raise UserError(f"clips.{name}={getattr(self, name)}: must be from 0 (keep all) to below 255; try 1")
        if not 0 < self.validation_share < 1:
            raise UserError(f"clips.validation_share={self.validation_share}: must be between 0 and 1; try 0.2")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stored piece of a video: ``frames`` uint8 [S, R, R, 3] with S >= n, and their ``frame_numbers`` in the video."""

    frames: np.ndarray
    frame_numbers: tuple[int, ...]

    def windows(self, clip_frames: int) -> int:
        """Number of clips of ``clip_frames`` frames in this segment."""
        return len(self.frame_numbers) - clip_frames + 1


def square(frame_hwc: np.ndarray, resolution: int) -> np.ndarray:
    """Crop to the center square and resize: uint8 [H, W, 3] -> uint8 [R, R, 3].

    Bilinear, antialiased. torch does it in integer arithmetic, so every machine gives the same bytes, within one gray
    level of Pillow's.
    """
    return _resize(_center_crop(frame_hwc)[None], resolution)[0]


def _center_crop(frame_hwc: np.ndarray) -> np.ndarray:
    height, width = frame_hwc.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame_hwc[top : top + side, left : left + side]


def _resize(squares: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 [N, S, S, 3] -> uint8 [N, R, R, 3]; no copy where S = R."""
    if squares.shape[1] == resolution:
        return np.ascontiguousarray(squares)
    frames = torch.from_numpy(np.require(squares, requirements=("C", "W"))).permute(0, 3, 1, 2)
    frames = frames.contiguous(memory_format=torch.channels_last)  # already the layout; selects the fast kernel
    resized = F.interpolate(frames, size=(resolution, resolution), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous().numpy()


def _squares(frames: Iterable[tuple[int, np.ndarray]], resolution: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number, frame) -> (number, ``square(frame)``). Resizes several frames at once, which takes half the time."""
    pending: list[tuple[int, np.ndarray]] = []

    def flush() -> Iterator[tuple[int, np.ndarray]]:
        if pending:
            numbers, crops = zip(*pending, strict=True)
            yield from zip(numbers, _resize(np.stack(crops), resolution), strict=True)
        pending.clear()

    for number, frame in frames:
        crop = _center_crop(frame)
        if pending and (pending[0][1].shape != crop.shape or len(pending) * crop.nbytes >= RESIZE_BYTES):
            yield from flush()
        pending.append((number, crop))
    yield from flush()


def segments(
    frames: Iterable[np.ndarray], config: ClipsConfig, window_mode: WindowMode = "overlapping"
) -> Iterator[Segment]:
    """Cut a video's frames, uint8 [H, W, 3] each, into segments; none if there are fewer than ``frames_needed``.

    Static and black stretches are dropped as ``config`` says, and no clip spans a dropped one. Memory: one segment
    (``phases``: one stretch), whatever the length of the video.
    """
    step = 1 if window_mode == "phases" else config.frame_stride
    strided = ((number, frame) for number, frame in enumerate(frames) if number % step == 0)
    for _, part in groupby(_drop_dead_stretches(_squares(strided, config.resolution), config), key=itemgetter(0)):
        scene = ((number, frame) for _, number, frame in part)
        yield from (
            _overlapping(scene, config)
            if window_mode == "overlapping"
            else _separate(scene, config, phases=window_mode == "phases")
        )


def _drop_dead_stretches(
    frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(scene index, number, frame) without static or black stretches of at least a clip's length."""
    if not config.drop_static and not config.drop_black:
        yield from ((0, number, frame) for number, frame in frames)
        return
    scene = 0
    dead: list[tuple[int, np.ndarray]] = []  # held back: dropped once they reach a clip's length
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
    """The least number of frames from which a video gives a clip."""
    if window_mode == "phases":
        return config.frames * config.frame_stride
    return (config.frames - 1) * config.frame_stride + 1


def _overlapping(frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig) -> Iterator[Segment]:
    """Segments of at most ``segment_windows`` windows; every window of the scene is in exactly one."""
    longest = segment_windows(config.frames) + config.frames - 1
    kept: list[np.ndarray] = []
    numbers: list[int] = []
    has_new = False  # whether a frame was added since the last segment
    for number, frame in frames:
        kept.append(frame)
        numbers.append(number)
        has_new = True
        if len(kept) == longest:
            yield Segment(frames=np.stack(kept), frame_numbers=tuple(numbers))
            kept, numbers = kept[-(config.frames - 1) :], numbers[-(config.frames - 1) :]
            has_new = False
    if has_new and len(kept) >= config.frames:
        yield Segment(frames=np.stack(kept), frame_numbers=tuple(numbers))


def _separate(frames: Iterable[tuple[int, np.ndarray]], config: ClipsConfig, *, phases: bool) -> Iterator[Segment]:
    """Segments of one window each that share no frames."""
    step = config.frame_stride if phases else 1
    kept: list[np.ndarray] = []
    numbers: list[int] = []
    for number, frame in frames:
        kept.append(frame)
        numbers.append(number)
        if len(kept) == config.frames * step:
            for phase in range(step):
                yield Segment(frames=np.stack(kept[phase::step]), frame_numbers=tuple(numbers[phase::step]))
            kept, numbers = [], []


def segment_windows(clip_frames: int) -> int:
    """The maximum number of windows in a segment: at least 16, and three per frame of a clip to keep the overlap small."""
    return max(16, 3 * clip_frames)
