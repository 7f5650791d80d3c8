"""The first frames of a video, small, and its header; runs in an isolated process."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.video import decoder
from pipelines.video.decoded import VideoRejectedError

FUNCTION = "pipelines.own_videos.video_look:look"
MOST_FRAMES = 240  # decoded of a video
SIDE = 32  # pixels of a side of the small frames


@dataclass(frozen=True, kw_only=True)
class VideoLook:
    """A video's number of frames, width, height and frames per second (``None``: unknown), and its first frames, uint8
    [T, 32, 32, 3]; or in ``rejected`` the reason why it cannot be used.
    """

    frames: int = 0
    size: tuple[int, int] = (0, 0)
    fps: float | None = None
    small: np.ndarray | None = None
    rejected: str = ""


def look(path: Path) -> VideoLook:
    """Decode at most ``MOST_FRAMES`` frames."""
    try:
        decoded = decoder.decode(path)
        small = [_small(frame) for frame in islice(decoded.frames, MOST_FRAMES)]
    except VideoRejectedError as error:
        return VideoLook(rejected=str(error))
    if not small:
        return VideoLook(rejected="has no frames")
    container = decoded.container
    size = (container.width, container.height)
    return VideoLook(frames=container.packets, size=size, fps=container.fps, small=np.stack(small))


def _small(frame_hwc: np.ndarray) -> np.ndarray:
    """The square in the center, uint8 [32, 32, 3]; by Pillow, since importing torch takes longer than a video."""
    height, width = frame_hwc.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(frame_hwc).resize((SIDE, SIDE), Image.Resampling.BOX, box=box))
