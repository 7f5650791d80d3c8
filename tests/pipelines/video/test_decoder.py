from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.video import decoder

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the clips in {SHARED}")


def write(path: Path, *, codec: str = "libx264", size: tuple[int, int] = (64, 64), frames: int = 20) -> np.ndarray:
    """A video whose left half grows brighter, frame by frame; uint8 [T, H, W, 3]."""
    import av

    pictures = np.zeros((frames, size[1], size[0], 3), np.uint8)
    pictures[:, :, : size[0] // 2] = np.arange(frames)[:, None, None, None] * 12 % 256
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return pictures


def off(path: Path, pictures: np.ndarray) -> float:
    """The largest mean error of a frame; frames one place off would be 6 apart."""
    frames = np.stack(list(decoder.decode(path).frames)).astype(int)
    assert frames.shape == pictures.shape
    return float(np.abs(frames - pictures).mean(axis=(1, 2, 3)).max())


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")])
def test_decord_reads_every_frame_in_its_place(tmp_path: Path, suffix: str, codec: str) -> None:
    path, count = (
        tmp_path / f"v.{suffix}",
        2 * decoder.CHUNK + 6,
    )  # all frames are held, so a memory used twice would show
    pictures = write(path, codec=codec, frames=count)
    assert off(path, pictures) < 3
    decoded = decoder.decode(path)
    assert (decoded.decoder, decoded.container.packets, decoded.container.fps) == ("decord", count, 25.0)


@pytest.mark.parametrize("size", [(16, 16), (24, 24), (48, 64), (72, 50)])
def test_widths_that_decord_fails_on_go_to_pyav(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = write(tmp_path / "v.mp4", size=size)
    decoded = decoder.decode(tmp_path / "v.mp4")
    assert decoded.decoder == "pyav" and f"{size[0]}x{size[1]}" in decoded.note
    assert off(tmp_path / "v.mp4", pictures) < 5.5


def test_a_second_try_without_decord_gives_the_same_pixels(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4")
    again = decoder.decode(tmp_path / "v.mp4", without_decord="for a test")
    assert (again.decoder, again.note) == ("pyav", "for a test")
    assert np.array_equal(np.stack(list(again.frames)), np.stack(list(decoder.decode(tmp_path / "v.mp4").frames)))


def test_half_an_avi_is_refused_though_decord_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    write(path, codec="ffv1", frames=40)  # large pictures, so that the middle lies behind the header
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(decoder.VideoRejectedError, match=r"is cut short: \d+ of 40 frames"):
        decoder.decode(path)


def test_files_without_pictures_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    for name, reason in (("empty.mp4", "is empty"), ("text.mp4", "cannot be opened"), ("none.mp4", "not a file")):
        with pytest.raises(decoder.VideoRejectedError, match=reason) as rejected:
            decoder.decode(tmp_path / name)
        assert str(tmp_path) not in str(rejected.value)


@needs_shared
@pytest.mark.parametrize("without_decord", ["", "for a test"])
def test_rotation_is_honoured_by_both_decoders(without_decord: str) -> None:
    decoded = decoder.decode(SHARED / "clips/rotated_90.mov", without_decord=without_decord)
    first = next(iter(decoded.frames))
    assert first.shape == (568, 320, 3)
    assert np.array_equal(first, next(iter(decoder.decode(SHARED / "clips/rotated_90.mov").frames)))


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "broken").glob("*")), ids=lambda path: path.name)
def test_each_broken_file_is_refused(path: Path) -> None:
    with pytest.raises((decoder.VideoRejectedError, decoder.DecordFailedError)) as first:
        list(decoder.decode(path).frames)
    if first.type is decoder.DecordFailedError:
        with pytest.raises(decoder.VideoRejectedError, match="is damaged"):
            list(decoder.decode(path, without_decord="for a test").frames)
