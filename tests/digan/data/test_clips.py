from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from digan.data.clips import RESIZE_BYTES, ClipsConfig, WindowMode, frames_needed, segment_windows, segments, square
from digan.errors import UserError
from tests.conftest import clips_config


def config(**changes: object) -> ClipsConfig:
    return clips_config(**{"resolution": 32, "frames": 4, "frame_stride": 1, "validation_share": 0.2, **changes})


def numbered(count: int) -> list[np.ndarray]:
    return [np.full((32, 32, 3), number % 256, np.uint8) for number in range(count)]


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (33, 47), (32, 32), (20, 24)])
def test_square_keeps_a_constant_frame_constant(size: tuple[int, int]) -> None:
    small = square(np.full((*size, 3), (17, 255, 0), np.uint8), 32)
    assert small.shape == (32, 32, 3) and small.dtype == np.uint8
    assert (small == (17, 255, 0)).all()


def test_square_crops_the_center() -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, 16:48] = 200
    assert (square(picture, 32) == 200).all()
    assert (square(picture.transpose(1, 0, 2), 32) == 200).all()


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (side, side + 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", [20, 48, 75, 128, 240, 256, 1080])
@pytest.mark.parametrize("resolution", [32, 128])
def test_resize_agrees_with_pillow(side: int, resolution: int) -> None:
    image = pytest.importorskip("PIL.Image")
    crop = noise(side)[:, 3 : 3 + side]
    theirs = np.asarray(image.fromarray(crop).resize((resolution, resolution), image.Resampling.BILINEAR))
    off = np.abs(square(noise(side), resolution).astype(int) - theirs)
    assert off.max() <= 1 and off.mean() < 0.05


def test_frames_are_resized_together_as_each_alone() -> None:
    random = np.random.default_rng(0)
    shapes = [(300, 320)] * (RESIZE_BYTES // (300 * 300 * 3) + 3) + [(48, 40), (40, 48), (32, 32)]
    frames = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    [segment] = segments(frames, config(frames=4))
    assert np.array_equal(segment.frames, [square(frame, 32) for frame in frames])


def test_resize_gives_equal_bytes_without_vector_instructions() -> None:
    """Shards have equal bytes only if every instruction set gives the same pixels."""
    sides = (20, 75, 240, 256)
    program = f"""
import hashlib
from digan.data.clips import square
from tests.digan.data.test_clips import noise
print(hashlib.sha256(b"".join(square(noise(side), 128).tobytes() for side in {sides})).hexdigest())
"""
    here = hashlib.sha256(b"".join(square(noise(side), 128).tobytes() for side in sides)).hexdigest()
    plain = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert plain.stdout.strip() == here


def test_downsampling_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 254
    assert np.abs(square(stripes, 32)[:, 2:-2].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("count", [4, 5, 19, 20, 51, 200])
@pytest.mark.parametrize("stride", [1, 3])
def test_every_window_is_in_exactly_one_segment(count: int, stride: int) -> None:
    clips = config(frame_stride=stride)
    kept = range(0, count, stride)
    starts: list[int] = []
    for segment in segments(numbered(count), clips):
        windows = segment.windows(clips.frames)
        assert 1 <= windows <= segment_windows(clips.frames)
        assert segment.frames[:, 0, 0, 0].tolist() == list(segment.frame_numbers)
        assert list(segment.frame_numbers) == list(
            range(segment.frame_numbers[0], segment.frame_numbers[-1] + 1, stride)
        )
        starts += segment.frame_numbers[:windows]
    assert starts == list(kept[: max(0, len(kept) - clips.frames + 1)])


def test_a_short_video_has_no_segment() -> None:
    assert list(segments(numbered(3), config())) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("resolution", 48), ("resolution", 16), ("frames", 1), ("frame_stride", 0), ("validation_share", 0)],
)
def test_invalid_values_name_their_key(key: str, value: int) -> None:
    with pytest.raises(UserError, match=rf"^clips\.{key}={value}: .*; try"):
        config(**{key: value})


@pytest.mark.parametrize(
    ("window_mode", "stride", "count", "clips"),
    [
        ("disjoint", 1, 11, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ("disjoint", 2, 16, [(0, 2, 4, 6), (8, 10, 12, 14)]),
        ("phases", 1, 11, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ("phases", 2, 23, [(0, 2, 4, 6), (1, 3, 5, 7), (8, 10, 12, 14), (9, 11, 13, 15)]),
        ("phases", 4, 16, [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]),
    ],
)
def test_separate_windows_share_no_frame(
    window_mode: WindowMode, stride: int, count: int, clips: list[tuple[int, ...]]
) -> None:
    found = list(segments(numbered(count), config(frame_stride=stride), window_mode))
    assert [segment.frame_numbers for segment in found] == clips
    assert all(segment.windows(4) == 1 for segment in found)
    assert all(tuple(segment.frames[:, 0, 0, 0]) == segment.frame_numbers for segment in found)


@pytest.mark.parametrize("window_mode", ["overlapping", "disjoint", "phases"])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_shortest_video_that_gives_a_clip(window_mode: WindowMode, stride: int) -> None:
    clips = config(frame_stride=stride)
    needed = frames_needed(clips, window_mode)
    assert list(segments(numbered(needed), clips, window_mode)) and not list(
        segments(numbered(needed - 1), clips, window_mode)
    )


def moving(levels: list[int]) -> list[np.ndarray]:
    """Frames of one gray each."""
    return [np.full((32, 32, 3), level, np.uint8) for level in levels]


def test_static_scenes_are_dropped_and_no_clip_spans_them() -> None:
    levels = [10, 20, 30, 40, 50, *[60] * 9, 70, 80, 90, 100, 110]  # nine equal frames: the first of them has moved
    for window_mode in ("overlapping", "disjoint"):
        found = list(segments(moving(levels), config(drop_static=1.0), window_mode))  # type: ignore[arg-type]
        numbers = [segment.frame_numbers for segment in found]
        assert (
            numbers == [(0, 1, 2, 3, 4, 5), (14, 15, 16, 17, 18)]
            if window_mode == "overlapping"
            else [(0, 1, 2, 3), (14, 15, 16, 17)]
        )
    short = [10, 20, 30, 30, 30, 30, 40, 50]  # three still frames are no clip's length
    assert [len(s.frame_numbers) for s in segments(moving(short), config(drop_static=1.0))] == [8]
    assert list(segments(moving([7] * 50), config(drop_static=1.0, drop_black=0.0))) == []
    assert [len(s.frame_numbers) for s in segments(moving([7] * 5), config())] == [5]


def test_black_scenes_are_dropped() -> None:
    levels = [0, 1, 2, 3, 4, 5, 50, 60, 50, 60, 0, 0, 50, 60, *[3, 5] * 5]
    found = list(segments(moving(levels), config(drop_black=8.0)))
    assert [segment.frame_numbers for segment in found] == [tuple(range(6, 14))]


@pytest.mark.parametrize("key", ["drop_static", "drop_black", "fps"])
def test_invalid_options_name_their_key(key: str) -> None:
    with pytest.raises(UserError, match=rf"^clips\.{key}=-1: must be from 0"):
        config(**{key: -1})
