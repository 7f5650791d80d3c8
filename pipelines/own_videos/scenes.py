"""Cuts and motion of a video, and how many clips it gives, from small frames.

Changes are mean differences, in levels of 255, over the tenth of the picture that changes most, so that a small mover before
a still background counts. Legend: T frames, P pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.own_videos.video_look import VideoLook

CUT_LEVELS, CUT_RATIO = 20.0, 4.0  # a cut: this mean difference, and as many times that of the frames around
AROUND = 8  # frames around a cut
MOST_PAIRS = 40  # pairs of frames that are compared, of a video


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """The small frames between cuts, uint8 [T, 32, 32, 3] each, and the number of frames of the whole video."""

    parts: tuple[np.ndarray, ...]
    frames: float

    @classmethod
    def of(cls, look: VideoLook, fps: float) -> Scenes:
        """Cut a video at ``fps`` frames per second, or at its own rate if that is 0 or unknown."""
        small = np.empty((0, 1, 1, 3), dtype=np.uint8) if look.small is None else look.small
        step = look.fps / fps if fps and look.fps else 1.0
        taken = small[np.unique((np.arange(len(small)) * step).astype(int).clip(max=len(small) - 1))]
        return cls(parts=tuple(np.split(taken, cuts(taken))), frames=look.frames / step)

    @property
    def seen(self) -> int:
        """The number of frames that were decoded."""
        return sum(map(len, self.parts))

    def change(self, lag: int) -> float | None:
        """The median change between frames that are ``lag`` apart, in one scene; ``None`` where there are none."""
        pairs = [(part, first) for part in self.parts for first in range(len(part) - lag)]
        pairs = pairs[:: -(-len(pairs) // MOST_PAIRS)] if pairs else []
        changes = [_change(part[first], part[first + lag]) for part, first in pairs]
        return float(np.median(changes)) if changes else None

    def clips(self, frames: int, stride: int) -> float:
        """The number of clips in the whole video."""
        return windows(self.frames, frames, stride)

    def with_cut(self, frames: int, stride: int) -> tuple[float, float]:
        """Of the decoded frames: the number of clips that span a cut, and of all clips."""
        every = windows(self.seen, frames, stride)
        return every - min(every, sum(windows(len(part), frames, stride) for part in self.parts)), every

    def brightness(self) -> float:
        """Mean level of the decoded frames."""
        return float(np.mean([part.mean() for part in self.parts if len(part)]))


def windows(length: float, frames: int, stride: int) -> float:
    """The number of clips in ``length`` frames."""
    return max(0, -(-int(length) // stride) - frames + 1)


def cuts(frames: np.ndarray) -> list[int]:
    """The numbers of the frames that begin a new scene."""
    if len(frames) < 3:
        return []
    levels = frames.astype(np.float32)
    steps = np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))
    found = []
    for number, step in enumerate(steps):
        around = np.delete(steps[max(0, number - AROUND) : number + AROUND + 1], min(number, AROUND))
        if step > CUT_LEVELS and step > CUT_RATIO * np.median(around):
            found.append(number + 1)
    return found


def _change(first: np.ndarray, second: np.ndarray) -> float:
    difference = np.abs(first.astype(np.float32) - second.astype(np.float32)).mean(axis=-1).ravel()
    return float(np.sort(difference)[-max(1, difference.size // 10) :].mean())
