"""Cuts, motion and clip counts of small frames, and the clips that are chosen from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digan.errors import UserError
from pipelines.own_videos import clip_settings
from pipelines.own_videos.scenes import Scenes, cuts, windows
from pipelines.own_videos.survey import Survey
from pipelines.own_videos.video_look import VideoLook
from pipelines.video.raw_video import RawVideo


def moving(frames: int, *, seed: int = 0, speed: float = 1.0) -> np.ndarray:
    """A bright square that moves over a random background, uint8 [T, 32, 32, 3]."""
    background = np.random.default_rng(seed).integers(0, 200, (1, 1, 1, 3))
    video = np.broadcast_to(background, (frames, 32, 32, 3)).astype(np.uint8)
    for number, frame in enumerate(video):
        left = int(number * speed) % 24
        frame[8:16, left : left + 8] = 255
    return video


def seen(small: np.ndarray, **changes: Any) -> VideoLook:
    return VideoLook(**{"frames": len(small), "size": (64, 48), "fps": 25.0, "small": small} | changes)


def surveyed(*looks: VideoLook, **changes: Any) -> Survey:
    videos = tuple(RawVideo(name=f"{i}.mp4", path=f"{i}.mp4", class_name=None) for i in range(len(looks)))
    given = {"folder": Path("mine"), "videos": videos, "looks": looks, "rejected": {}, "decoded": len(looks)}
    return Survey(**given | changes)


def test_cuts_are_found_and_motion_is_none() -> None:
    assert cuts(np.concatenate([moving(20, seed=1), moving(15, seed=2), moving(10, seed=3)])) == [20, 35]
    assert cuts(moving(60, speed=3)) == []
    noise = np.random.default_rng(0).integers(
        0, 256, (40, 32, 32, 3), dtype=np.uint8
    )  # all frames differ: no scene ends
    assert cuts(noise) == [] and cuts(moving(1)) == [] and cuts(moving(2)) == []


@pytest.mark.parametrize(
    ("length", "frames", "stride"), [(40, 16, 1), (40, 16, 2), (16, 16, 1), (15, 16, 1), (47, 10, 4)]
)
def test_windows_agree_with_the_segments_of_the_ingest(length: int, frames: int, stride: int) -> None:
    from digan.data.clips import segments
    from tests.conftest import clips_config

    config = clips_config(resolution=32, frames=frames, frame_stride=stride)
    assert windows(length, frames, stride) == sum(each.windows(frames) for each in segments(moving(length), config))


def test_clips_that_span_a_cut_are_counted() -> None:
    scenes = Scenes.of(seen(np.concatenate([moving(20, seed=1), moving(20, seed=2)])), fps=0.0)
    spanned, every = scenes.with_cut(16, 1)
    assert (spanned, every) == (15, 25)  # a clip that starts at frame 5 to 19 has frames of both


def test_change_counts_a_small_mover_and_not_a_still_picture() -> None:
    still = Scenes.of(seen(moving(40, speed=0)), fps=0.0)
    assert still.change(15) == 0 and still.change(40) is None
    assert Scenes.of(seen(moving(40, speed=0.5)), fps=0.0).change(15) > 30  # type: ignore[operator]


def test_fast_motion_takes_each_frame_and_slow_motion_skips() -> None:
    assert clip_settings.plan(surveyed(seen(moving(200, speed=1)))).stride == 1
    slow = clip_settings.plan(surveyed(*[seen(moving(200, speed=0.05))] * 3))
    assert slow.stride > 1 and slow.change > 0
    still = clip_settings.plan(surveyed(*[seen(moving(200, speed=0))] * 3))
    assert (still.stride, still.static) == (1, 1.0)


def test_short_videos_get_shorter_clips_and_too_short_ones_are_an_error() -> None:
    assert clip_settings.plan(surveyed(*[seen(moving(13))] * 4)).frames == 12
    tiny = [seen(moving(3))] * 2  # shorter clips would not help
    assert clip_settings.plan(surveyed(*tiny, *[seen(moving(60))] * 4)).frames == 16
    with pytest.raises(
        UserError, match=r"^mine: the longest of the 2 videos .* has 5 frames, a clip needs 8; use longer"
    ):
        clip_settings.plan(surveyed(seen(moving(5)), seen(moving(4))))


def test_mixed_rates_are_resampled_and_equal_ones_are_not() -> None:
    assert clip_settings.plan(surveyed(seen(moving(60)), seen(moving(60), fps=24.9))).fps == 0
    mixed = clip_settings.plan(surveyed(seen(moving(60)), seen(moving(120), fps=50.0)))
    assert mixed.fps == 25.0 and mixed.clips == 2 * 45  # both last 60 frames at 25 a second
    unknown = clip_settings.plan(surveyed(seen(moving(60), fps=None), seen(moving(60), fps=None)))
    assert unknown.fps == 0
