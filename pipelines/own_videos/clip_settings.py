"""How videos become clips: rate, number of frames, stride, and what that gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from digan.errors import UserError
from pipelines.own_videos.scenes import Scenes
from pipelines.own_videos.survey import Survey

FRAMES = (16, 12, 10, 8)  # the paper's number first
STRIDES = (1, 2, 3, 4, 6, 8)
MOST_SHORT = 0.2  # of the videos may be too short for a clip
VISIBLE = 30.0  # change over a clip that shows motion, levels
STATIC = 4.0  # change over a clip below which nothing moves
DARK = 8.0  # mean level of a black video


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """The chosen clips of a folder. ``clips`` is the number of all of them, ``apart`` of those without common frames;
    ``change`` is the median change over a clip, and the shares are of videos (``short``, ``static``, ``dark``) or of clips
    (``with_cut``).
    """

    fps: float
    frames: int
    stride: int
    clips: int
    apart: int
    change: float
    with_cut: float
    short: float
    static: float
    dark: float

    @property
    def span(self) -> int:
        """Frames of the video from a clip's first to its last, at the rate ``fps``."""
        return (self.frames - 1) * self.stride + 1


def plan(survey: Survey) -> ClipPlan:
    """Choose rate, frames and stride. ``UserError`` if no video is long enough."""
    fps = survey.common_rate
    scenes = survey.scenes(fps)
    least = FRAMES[-1]
    if _short(scenes, least, 1) == 1:
        longest = max(int(each.frames) for each in scenes)
        problem = (
            f"the longest of the {len(scenes)} videos that were decoded has {longest} frames, a clip needs {least}"
        )
        raise UserError(f"{survey.folder}: {problem}; use longer videos")
    most_short = max(MOST_SHORT, _short(scenes, least, 1))
    frames = next(n for n in FRAMES if _short(scenes, n, 1) <= most_short)
    stride = _stride(scenes, frames)
    changes = _changes(scenes, frames, stride)
    usable = len(survey.videos) * len(scenes) / survey.decoded
    counts = np.array([each.clips(frames, stride) for each in scenes])
    apart = np.array([-(-int(each.frames) // stride) // frames for each in scenes])
    return ClipPlan(
        fps=fps,
        frames=frames,
        stride=stride,
        clips=round(usable * counts.mean()),
        apart=round(usable * apart.mean()),
        change=float(np.median(changes)) if changes else 0.0,
        with_cut=_with_cut(scenes, frames, stride),
        short=_short(scenes, frames, stride),
        static=float(np.mean([change < STATIC for change in changes])) if changes else 0.0,
        dark=float(np.mean([each.brightness() < DARK for each in scenes])),
    )


def _stride(scenes: Sequence[Scenes], frames: int) -> int:
    """The smallest stride at which motion shows in a clip, else the one with most motion, of those that few videos are too
    short for and that add few cuts.
    """
    most_short = max(0.1, _short(scenes, frames, 1))
    most_cut = max(0.1, _with_cut(scenes, frames, 1))
    best, most = 1, 0.0
    for stride in STRIDES:
        if _short(scenes, frames, stride) > most_short or _with_cut(scenes, frames, stride) > most_cut:
            continue
        change = float(np.median(_changes(scenes, frames, stride) or [0.0]))
        if change >= VISIBLE:
            return stride
        if change > 1.2 * most:  # a longer clip must show clearly more
            best, most = stride, change
    return best


def _changes(scenes: Sequence[Scenes], frames: int, stride: int) -> list[float]:
    found = [each.change((frames - 1) * stride) for each in scenes]
    return [change for change in found if change is not None]


def _short(scenes: Sequence[Scenes], frames: int, stride: int) -> float:
    return float(np.mean([each.clips(frames, stride) == 0 for each in scenes]))


def _with_cut(scenes: Sequence[Scenes], frames: int, stride: int) -> float:
    counts = np.array([each.with_cut(frames, stride) for each in scenes])
    return float(counts[:, 0].sum() / max(counts[:, 1].sum(), 1))
