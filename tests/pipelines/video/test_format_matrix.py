"""Containers x codecs x groups of pictures: every frame is the one that was drawn, in its position.

``python -m tests.pipelines.video.test_format_matrix`` prints the table of docs/data.md.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.video import decoder

FRAMES, WIDTH, HEIGHT, BITS = 50, 128, 96, 6
GOPS = {"I": (1, 0), "12, no B": (12, 0), "12, 2 B": (12, 2), "one": (250, 2)}  # keyframe interval, B-frames
CODECS = {
    "h264": ("libx264", "mp4 mov mkv avi flv ts m2ts 3gp"),
    "hevc": ("libx265", "mp4 mov mkv ts m2ts"),
    "mpeg4": ("mpeg4", "mp4 mov mkv avi ts 3gp"),
    "mpeg2": ("mpeg2video", "mkv ts m2ts mpg vob mxf"),
    "mpeg1": ("mpeg1video", "mpg avi mkv ts"),
    "vp9": ("libvpx-vp9", "webm mkv"),
    "vp8": ("libvpx", "webm mkv"),
    "av1": ("libsvtav1", "mp4 mkv webm"),
    "mjpeg": ("mjpeg", "mov mkv avi"),
    "ffv1": ("ffv1", "mkv avi"),
    "wmv2": ("wmv2", "wmv avi"),
    "flv1": ("flv1", "flv"),
    "prores": ("prores_ks", "mov mkv"),
}
FORMATS = {"ts": "mpegts", "m2ts": "mpegts", "mpg": "mpeg", "vob": "vob", "wmv": "asf", "mkv": "matroska"}
PIXELS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}
NO_B = frozenset(("vp8", "vp9", "av1", "mjpeg", "ffv1", "wmv2", "flv1", "prores"))
OPTIONS = {
    "h264": {"preset": "ultrafast"},
    "hevc": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "av1": {"preset": "8", "crf": "20"},
    "vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def cases() -> Iterator[tuple[str, str, str]]:
    for codec, (_, containers) in CODECS.items():
        for container, gop in itertools.product(containers.split(), GOPS):
            if codec not in NO_B or gop in ("I", "12, no B"):
                yield container, codec, gop


def drawn(index: int) -> np.ndarray:
    """The frame ``index``: its number as bars, one per binary digit, bright for 1."""
    bits = [(index >> bit) & 1 for bit in range(BITS)]
    return np.repeat(
        np.repeat(np.array(bits, np.uint8)[None] * 175 + 40, WIDTH // BITS + 1, axis=1)[:, :WIDTH, None], 3, axis=2
    ).repeat(HEIGHT, axis=0)


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded frame shows."""
    width = WIDTH // BITS + 1
    return sum(int(frame[8:-8, bit * width + 4 : (bit + 1) * width - 8].mean() > 127) << bit for bit in range(BITS))


def write(path: Path, codec: str, gop: str) -> Path:
    encoder, _ = CODECS[codec]
    keyframes, b_frames = GOPS[gop]
    with av.open(str(path), "w", format=FORMATS.get(path.suffix[1:])) as container:
        options = {"g": str(keyframes), "bf": str(b_frames), **OPTIONS.get(codec, {})}
        stream = container.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, PIXELS.get(codec, "yuv420p")
        if codec != "av1":
            stream.bit_rate = 4_000_000
        for index in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn(index), format="rgb24")))
        container.mux(stream.encode())
    return path


def shown_by_decord(path: Path) -> list[int] | str:
    """The numbers by decord alone, without this project's checks; an error's type if it fails."""
    import decord

    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return [number_of(reader[index].asnumpy()) for index in range(len(reader))]
    except Exception as error:
        return type(error).__name__


def differing(folder: Path) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """The cases in which PyAV, and decord alone, do not show every frame in its position."""
    wrong: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]] = ([], [])
    for case in cases():
        path = write(folder / f"x.{case[0]}", *case[1:])
        if [number_of(frame) for frame in decoder.decode(path).frames] != list(range(FRAMES)):
            wrong[0].append(case)
        if shown_by_decord(path) != list(range(FRAMES)):
            wrong[1].append(case)
    return wrong


def table(decord_wrong: list[tuple[str, str, str]]) -> list[str]:
    """A row per container: its codecs, and the codecs that decord shows wrongly, with the groups of pictures."""
    rows = ["| container | codecs tried | decord differs in |", "| --- | --- | --- |"]
    containers = dict.fromkeys(container for container, _, _ in cases())
    for container in containers:
        codecs = dict.fromkeys(codec for other, codec, _ in cases() if other == container)
        wrong = []
        for codec in codecs:
            gops = [gop for case, other, gop in decord_wrong if (case, other) == (container, codec)]
            every = len(gops) == sum((c, o) == (container, codec) for c, o, _ in cases())
            wrong += [codec if every else f"{codec} ({'; '.join(gops)})"] if gops else []
        rows.append(f"| {container} | {', '.join(codecs)} | {', '.join(wrong)} |")
    return rows


@pytest.mark.slow
def test_every_frame_in_its_position_in_every_format(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    pyav_wrong, decord_wrong = differing(tmp_path)
    assert not pyav_wrong
    unguarded = []
    for case in decord_wrong:
        decoded = decoder.decode(write(tmp_path / f"y.{case[0]}", *case[1:]), decoder="decord")
        unguarded += [case] if decoded.decoder == "decord" else []
    assert not unguarded, "decord is wrong here and is used"
    page = (Path(__file__).parents[3] / "docs/data.md").read_text()
    assert "\n".join(table(decord_wrong)) in page, "docs/data.md: replace the table by this module's output"


@pytest.mark.parametrize(
    "case",
    [("ts", "h264", "12, 2 B"), ("ts", "mpeg2", "12, no B"), ("mkv", "h264", "12, 2 B"), ("vob", "mpeg2", "12, 2 B")],
)
def test_transport_and_program_streams_show_every_frame(tmp_path: Path, case: tuple[str, str, str]) -> None:
    path = write(tmp_path / f"x.{case[0]}", *case[1:])
    for name in ("pyav", "decord"):
        decoded = decoder.decode(path, decoder=name)  # type: ignore[arg-type]
        assert [number_of(frame) for frame in decoded.frames] == list(range(FRAMES))
        assert decoded.container.packets == FRAMES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        pyav, by_decord = differing(Path(scratch))
    sys.stdout.write("\n".join([*table(by_decord), f"PyAV differs in: {pyav}"]) + "\n")
