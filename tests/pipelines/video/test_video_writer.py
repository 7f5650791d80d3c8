"""Videos and pictures for people: what is written shows what was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from pipelines.video import video_writer


def moving_square(frames: int = 5, size: int = 32) -> torch.Tensor:
    video = torch.full((frames, 3, size, size), 40, dtype=torch.uint8)
    for t in range(frames):
        video[t, 0, 4:20, 2 * t : 2 * t + 16] = 220
    return video


@pytest.mark.parametrize("size", [32, 33])
def test_mp4_shows_the_frames(tmp_path: Path, size: int) -> None:
    import av

    video = moving_square(size=size)
    path = video_writer.write_video(tmp_path / "v.mp4", video, fps=12.5, scale=3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 12.5)
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    side = 3 * size + (3 * size) % 2
    assert shown.shape == (5, side, side, 3)
    error = shown[:, 1 : 3 * size : 3, 1 : 3 * size : 3].astype(int) - video.permute(0, 2, 3, 1).numpy()
    assert np.abs(error).mean() < 6


def test_equal_videos_give_equal_mp4_bytes(tmp_path: Path) -> None:
    video = torch.randint(0, 256, (12, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first, second = (video_writer.write_video(tmp_path / name, video).read_bytes() for name in ("1.mp4", "2.mp4"))
    assert first == second and b" threads=1 " in first  # x264 stores its settings; several threads change the bytes


def test_gif_shows_the_frames(tmp_path: Path) -> None:
    video = moving_square()
    path = video_writer.write_gif(tmp_path / "v.gif", video, fps=10)
    with Image.open(path) as image:
        assert image.info["loop"] == 0 and image.info["duration"] == 100
        shown = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])
    assert np.array_equal(shown, video.permute(0, 2, 3, 1).numpy())  # two colors: nothing is lost


def test_contact_sheet_has_a_row_per_video(tmp_path: Path) -> None:
    videos = torch.stack([moving_square(4), 255 - moving_square(4)])
    path = video_writer.write_contact_sheet(tmp_path / "s.png", videos, scale=2)
    picture = np.asarray(Image.open(path))[::2, ::2]
    assert picture.shape == (2 * 33 - 1, 4 * 33 - 1, 3)
    shown = picture[33 : 33 + 32, 2 * 33 : 2 * 33 + 32]
    assert np.array_equal(shown, videos[1, 2].permute(1, 2, 0).numpy())
    assert (picture[32] == 255).all()
