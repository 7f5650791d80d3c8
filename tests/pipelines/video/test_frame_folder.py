"""Videos as pictures: their order, what is refused and why, and whole ingests of frame folders and strips."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digan.errors import UserError
from pipelines.dataset.loader import read_clips, read_index
from pipelines.ingest import ingest
from pipelines.sources import open_source
from pipelines.video import decoder, frame_folder
from tests.conftest import clips_config, shards_config, source_config

CLIPS = clips_config(resolution=32, frames=4, frame_stride=1, validation_share=0.5)
SHARDS = shards_config(encoding="png", jpeg_quality=95, megabytes=1.0)


def picture(path: Path, gray: int, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (gray, gray, gray)).convert(mode).save(path)


def folder(path: Path, count: int, pattern: str = "frame_{}.png", first: int = 1) -> Path:
    """Frame k is plain, of gray 10 k."""
    for k in range(count):
        picture(path / pattern.format(first + k), 10 * k)
    return path


def grays(decoded: decoder.Decoded) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in decoded.frames]


def rejection(path: Path, strip: bool = False) -> str:
    with pytest.raises(decoder.VideoRejectedError) as caught:
        list((frame_folder.decode_strip if strip else frame_folder.decode_folder)(path).frames)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("pattern", ["frame_{}.png", "{}.PNG", "v2_{}_of_12.png", "{:07d}.png"])
def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path, pattern: str) -> None:
    folder(tmp_path / "v", 12, pattern)
    (tmp_path / "v/Thumbs.db").touch()
    (tmp_path / "v/.frame_0.png").touch()
    decoded = frame_folder.decode_folder(tmp_path / "v")
    assert (decoded.decoder, decoded.container.packets, decoded.container.fps) == ("pillow", 12, None)
    assert grays(decoded) == list(range(0, 120, 10))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    picture(tmp_path / "v/0.png", 255, mode=mode)
    frame = next(iter(frame_folder.decode_folder(tmp_path / "v").frames))
    assert frame.shape == (32, 32, 3) and frame.dtype == np.uint8 and (frame == 255).all()


def test_jpeg_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    (tmp_path / "v").mkdir()
    Image.new("RGB", (48, 32)).save(tmp_path / "v/0.jpg", exif=exif)
    decoded = frame_folder.decode_folder(tmp_path / "v")
    assert (decoded.container.width, decoded.container.height, decoded.container.codec) == (32, 48, "jpeg")


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    assert rejection(tmp_path / "none") == "is not a folder"
    (tmp_path / "empty").mkdir()
    assert rejection(tmp_path / "empty") == "holds no png or jpg pictures"
    two = folder(tmp_path / "two", 5)
    picture(two / "frame_4.png", 0, size=(32, 48))
    assert rejection(two) == "has frames of two sizes: frame_1.png and frame_4.png are 32x32 and 32x48"
    picture(folder(tmp_path / "twice", 3) / "frame_2.jpg", 0)
    assert rejection(tmp_path / "twice") == "holds a frame twice: frame_2.jpg and frame_2.png"
    picture(tmp_path / "deep/0.png", 0, mode="I;16")
    assert rejection(tmp_path / "deep").startswith("0.png: has more than 8 bits a channel")


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    broken = {"empty": b"", "text": b"not a picture", "cut": data[: len(data) // 2]}
    path.write_bytes(flipped(data) if how == "flip" else broken[how])


def flipped(data: bytes) -> bytes:
    place = data.index(b"IDAT") + 6
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("empty", "is empty"), ("text", "is not a png"), ("cut", "cannot be read"), ("flip", "cannot be")],
)
@pytest.mark.parametrize("which", ["frame_1.png", "frame_3.png"])
def test_a_broken_picture_is_named(tmp_path: Path, how: str, reason: str, which: str) -> None:
    damage(folder(tmp_path / "v", 4) / which, how)
    text = rejection(tmp_path / "v")
    assert text.startswith(f"{which}: ") and reason in text and "\n" not in text


def test_a_cut_jpeg_is_named(tmp_path: Path) -> None:
    damage(folder(tmp_path / "v", 4, "{}.jpg") / "2.jpg", "cut")
    assert rejection(tmp_path / "v").startswith("2.jpg: cannot be read")


@pytest.mark.parametrize("across", [True, False])
def test_a_strip_is_cut_into_squares(tmp_path: Path, across: bool) -> None:
    row = np.tile(np.repeat(np.arange(0, 70, 10, dtype=np.uint8), 32), (32, 1))
    Image.fromarray(row if across else row.T).convert("RGB").save(tmp_path / "v.png")
    decoded = frame_folder.decode_strip(tmp_path / "v.png")
    assert (decoded.container.packets, decoded.container.width, decoded.container.height) == (7, 32, 32)
    assert grays(decoded) == list(range(0, 70, 10))
    picture(tmp_path / "odd.png", 0, size=(100, 32))
    assert rejection(tmp_path / "odd.png", strip=True).startswith("is 100x32 pixels: the long side must be a multiple")


def png_header(path: Path, width: int, height: int) -> None:
    """A gray png of that size whose pixels are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"")]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def test_a_strip_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """``Image.open`` refuses 179 million pixels and more; the limit here is 2 ** 28, and it is known before decoding."""
    png_header(tmp_path / "long.png", 2**8, 2**20 + 2**8)
    assert rejection(tmp_path / "long.png", strip=True) == "long.png: is too large, 256x1048832 pixels"
    png_header(tmp_path / "cut.png", 2**8, 2**20)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "cut.png")
    assert rejection(tmp_path / "cut.png", strip=True) == "cut.png: cannot be read: image file is truncated"


@pytest.mark.slow
def test_a_strip_that_image_open_refuses_is_read(tmp_path: Path) -> None:
    Image.new("1", (2**9 * 700, 2**9), 1).save(tmp_path / "v.png")  # 184 million pixels
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "v.png")
    decoded = frame_folder.decode_strip(tmp_path / "v.png")
    assert decoded.container.packets == 700 and (next(iter(decoded.frames)) == 255).all()


def test_ingest_of_frame_folders(tmp_path: Path) -> None:
    for number in range(8):
        folder(tmp_path / f"raw/{'ab'[number % 2]}/v{number}", 10)
    damage(tmp_path / "raw/a/v0/frame_7.png", "cut")
    picture(tmp_path / "raw/b/v1/frame_5.png", 0, size=(64, 32))
    folder(tmp_path / "raw/b/short", 3)
    source = source_config(name="frames", path=str(tmp_path / "raw"), classes=True)
    line = ingest(source, CLIPS, SHARDS, tmp_path / "out", jobs=1)
    report = json.loads((tmp_path / "out/ingest_report.json").read_text())
    assert report["rejected"]["a/v0"].startswith("frame_7.png: cannot be read")
    assert report["rejected"]["b/v1"].startswith("has frames of two sizes")
    assert report["rejected"]["b/short"] == "is too short: 3 frames, a clip needs 4"
    assert line.startswith("ingest: 6 videos used") and report["decoders"] == {"pillow": 6}
    index = read_index(tmp_path / "out")
    assert index.classes == ("a", "b") and sum(count["clips"] for count in index.counts.values()) == 6 * 2
    for split in ("train", "val"):
        for clip in read_clips(tmp_path / "out", split=split, count=index.counts[split]["clips"], seed=0):
            start = int(clip.name.split("@")[1])
            assert start in (0, 4) and clip.label == "ab".index(clip.name[0])
            assert clip.frames[:, 0, 0, 0].tolist() == [10 * (start + k) for k in range(4)]


def test_ingest_of_strips(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / f"raw/{'ab'[number % 2]}/{number}.jpg", 20 * number, size=(32 * 9, 32))
    source = source_config(name="frames", frames={"layout": "strips"}, path=str(tmp_path / "raw"))
    assert [each.name for each in open_source(source)][:2] == ["a/0.jpg", "a/2.jpg"]
    ingest(source, CLIPS, SHARDS, tmp_path / "out", jobs=1)
    assert sum(count["clips"] for count in read_index(tmp_path / "out").counts.values()) == 8 * 2


def test_a_changed_frame_is_seen_when_an_ingest_goes_on(tmp_path: Path) -> None:
    before = frame_folder.bytes_and_time(folder(tmp_path / "v", 4))
    assert before[0] == 4 and before[1] == sum(path.stat().st_size for path in (tmp_path / "v").iterdir())
    picture(tmp_path / "v/frame_2.png", 255, size=(64, 64))
    assert frame_folder.bytes_and_time(tmp_path / "v") != before


def test_places_without_frames_are_one_line(tmp_path: Path) -> None:
    source = source_config(name="frames", path=str(tmp_path))
    with pytest.raises(UserError, match="holds no png or jpg pictures"):
        open_source(source)
    folder(tmp_path, 2)
    with pytest.raises(UserError, match="the folder itself holds pictures; give the folder above it"):
        open_source(source)
    with pytest.raises(UserError, match=r"source\.classes=true: 2 videos are in no class folder"):
        open_source(source_config(name="frames", path=str(tmp_path), frames={"layout": "strips"}, classes=True))
