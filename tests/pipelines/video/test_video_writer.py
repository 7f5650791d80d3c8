"""Pictures and videos for people: what is written is what was given, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from digan.errors import UserError
from pipelines.video import video_writer


def moving_square(frames: int = 5, size: int = 32) -> torch.Tensor:
    video = torch.full((frames, 3, size, size), 40, dtype=torch.uint8)
    for t in range(frames):
        video[t, 0, 4:20, 2 * t : 2 * t + 16] = 220
    return video


@pytest.mark.parametrize("size", [32, 33])
def test_a_video_shows_its_frames(tmp_path: Path, size: int) -> None:
    import av

    video = moving_square(size=size)
    path = video_writer.write_video(tmp_path / "v.mp4", video, fps=12.5, scale=3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 12.5)
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    side = 3 * size + (3 * size) % 2
    assert shown.shape == (5, side, side, 3)
    inside = shown[:, 1 : 3 * size : 3, 1 : 3 * size : 3].astype(int) - video.permute(0, 2, 3, 1).numpy()
    assert np.abs(inside).mean() < 6


def test_a_gif_shows_its_frames(tmp_path: Path) -> None:
    video = moving_square()
    path = video_writer.write_gif(tmp_path / "v.gif", video, fps=10)
    with Image.open(path) as image:
        assert image.info["loop"] == 0 and image.info["duration"] == 100
        shown = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])
    assert np.array_equal(shown, video.permute(0, 2, 3, 1).numpy())  # two colours: nothing is lost


def test_a_strip_has_a_row_a_video(tmp_path: Path) -> None:
    videos = torch.stack([moving_square(4), 255 - moving_square(4)])
    path = video_writer.write_strip(tmp_path / "s.png", videos, scale=2, gap=3)
    picture = np.asarray(Image.open(path))[::2, ::2]
    assert picture.shape == (2 * 35 - 3, 4 * 35 - 3, 3)
    assert np.array_equal(picture[35:67, 70:102], videos[1, 2].permute(1, 2, 0).numpy())
    assert (picture[32:35] == 255).all()


def test_failing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video_writer.write_bytes(tmp_path / "a" / "x.bin", b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        video_writer.write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fps", [0, -1, 1000, float("nan")])
def test_impossible_rates(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UserError, match="fps="):
        video_writer.write_gif(tmp_path / "x.gif", moving_square(), fps)
