"""What a decoder gives, and the errors of a video that cannot be decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


class VideoRejectedError(Exception):
    """A video that cannot be used; the text is the reason, without the file's name."""


class DecordFailedError(Exception):
    """decord failed in the middle of a file: decode it again from the start, by PyAV."""


@dataclass(frozen=True, kw_only=True)
class ContainerInfo:
    """The video stream of a file: the number of frames that are shown, the codec, width and height as shown, frames per
    second by the header, and the time of each frame in seconds (empty: unknown).

    ``not_for_decord`` is empty, or the reason why decord would show other frames than a player does.
    """

    packets: int
    codec: str
    width: int
    height: int
    fps: float | None
    times: tuple[float, ...] = ()
    not_for_decord: str = ""

    @property
    def constant_frame_rate(self) -> bool:
        """Whether the frame rate is constant: no interval is more than 1.5 times the median."""
        intervals = np.diff(self.times)
        return len(intervals) < 2 or bool(intervals.max() <= 1.5 * np.median(intervals))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Frames of a video, uint8 [H, W, 3], upright, one by one; ``decoder`` is pyav, decord or pillow.

    ``note`` says why PyAV decodes a file although decord was chosen.
    """

    frames: Iterator[np.ndarray]
    container: ContainerInfo
    decoder: str
    note: str


def short_text(error: Exception) -> str:
    """The useful line of an error, without file names, time stamps and source paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Stack trace" not in line]
    text = (lines[0] if lines else type(error).__name__).rsplit("] ", 1)[-1]
    return re.sub(r": '[^']*'( returned \d+)?$|^/\S+:\d+: ", "", text)[:160]
