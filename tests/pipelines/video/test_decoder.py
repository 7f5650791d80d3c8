from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.video import decoder, decord_frames
from pipelines.video.decoded import DecordFailedError, VideoRejectedError
from tests.pipelines.video import test_format_matrix as matrix

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


def error_of(path: Path, pictures: np.ndarray, name: decoder.DecoderName = "pyav") -> float:
    """The largest mean error of a frame; frames one position off would be 6 apart."""
    frames = np.stack(list(decoder.decode(path, decoder=name).frames)).astype(int)
    assert frames.shape == pictures.shape
    return float(np.abs(frames - pictures).mean(axis=(1, 2, 3)).max())


@pytest.mark.parametrize("name", ["pyav", "decord"])
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")])
def test_both_decoders_read_every_frame(tmp_path: Path, suffix: str, codec: str, name: decoder.DecoderName) -> None:
    if name == "decord":
        pytest.importorskip("decord")
    count = 2 * decord_frames.CHUNK + 6  # all frames are held, so memory that is used twice would show
    path = tmp_path / f"v.{suffix}"
    pictures = write(path, codec=codec, frames=count)
    assert error_of(path, pictures, name) < 3
    decoded = decoder.decode(path, decoder=name)
    assert (decoded.decoder, decoded.container.packets, decoded.container.fps) == (name, count, 25.0)


@pytest.mark.parametrize("size", [(16, 16), (24, 24), (48, 64), (72, 50)])
def test_widths_that_decord_fails_on_go_to_pyav(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = write(tmp_path / "v.mp4", size=size)
    decoded = decoder.decode(tmp_path / "v.mp4", decoder="decord")
    assert decoded.decoder == "pyav" and f"{size[0]}x{size[1]}" in decoded.note
    assert error_of(tmp_path / "v.mp4", pictures, "decord") < 5.5


def test_both_decoders_give_equal_pixels(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    write(tmp_path / "v.mp4")
    one, other = (np.stack(list(decoder.decode(tmp_path / "v.mp4", decoder=n).frames)) for n in ("pyav", "decord"))
    assert np.array_equal(one, other)


def numbered(path: Path, *, start: int = 0, frames: int = 48) -> Path:
    """Write frames that show their numbers, then copy the stream with ``start`` frames before time 0, as a cut without
    encoding does: the container then says that these are not shown.
    """
    import av

    whole = matrix.write(path.with_name(f"whole{path.suffix}"), "h264", "12, 2 B")
    with av.open(str(whole)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        taken = source.streams.video[0]
        stream = target.add_stream_from_template(taken)
        shift = int(start / 25 / taken.time_base)
        for packet in source.demux(taken):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "3gp"])
@pytest.mark.parametrize("start", [0, 1, 7, 13])
@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_a_cut_without_encoding_gives_the_frames_that_are_shown(
    tmp_path: Path, suffix: str, start: int, name: decoder.DecoderName
) -> None:
    decoded = decoder.decode(numbered(tmp_path / f"v.{suffix}", start=start), decoder=name)
    shown = list(range(start, matrix.FRAMES))
    assert [matrix.number_of(frame) for frame in decoded.frames] == shown
    assert decoded.container.packets == len(shown) == len(decoded.container.times)


def corners(path: Path, *, size: tuple[int, int] = (64, 48), **properties: object) -> np.ndarray:
    """A video of one picture with four different quarters; uint8 [H, W, 3]."""
    import av

    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = 250, 170
    picture[height // 2 :, : width // 2] = 90
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for key, value in properties.items():
            setattr(stream.codec_context, key, value)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return picture


@pytest.mark.parametrize("name", ["pyav", "decord"])
@pytest.mark.parametrize("matrix_entries", list(itertools.product((1, -1), (1, -1), (False, True))))
def test_all_eight_orientations(
    tmp_path: Path, matrix_entries: tuple[int, int, bool], name: decoder.DecoderName
) -> None:
    """The display matrix in the track's header, written byte by byte, moves each pixel where ISO 14496-12 says."""
    p, q, turned = matrix_entries
    picture = corners(tmp_path / "v.mp4")
    a, b, c, d = (0, p, q, 0) if turned else (p, 0, 0, q)
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows forty bytes after the version
    assert struct.unpack(">9i", data[start : start + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    data[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 2**30)
    (tmp_path / "v.mp4").write_bytes(data)
    height, width = picture.shape[:2]
    expected = np.zeros((width, height, 3) if turned else picture.shape, np.uint8)
    for y, x in itertools.product(range(height), range(width)):
        row = b * x + d * y + (expected.shape[0] - 1) * (b + d < 0)
        column = a * x + c * y + (expected.shape[1] - 1) * (a + c < 0)
        expected[row, column] = picture[y, x]
    decoded = decoder.decode(tmp_path / "v.mp4", decoder=name)
    frames = list(decoded.frames)
    assert (decoded.container.height, decoded.container.width) == expected.shape[:2]
    assert len(frames) == 5 and all(np.abs(frame.astype(int) - expected).mean() < 6 for frame in frames)


@pytest.mark.parametrize("name", ["pyav", "decord"])
@pytest.mark.parametrize(("ratio", "suffix"), [((2, 1), "mp4"), ((1, 2), "mkv"), ((4, 3), "ts"), ((12, 11), "mov")])
def test_pixels_that_are_not_square_are_scaled(
    tmp_path: Path, ratio: tuple[int, int], suffix: str, name: decoder.DecoderName
) -> None:
    path = tmp_path / f"v.{suffix}"
    picture = corners(path, sample_aspect_ratio=Fraction(*ratio))
    frames = list(decoder.decode(path, decoder=name).frames)
    width = round(picture.shape[1] * ratio[0] / ratio[1])
    assert frames[0].shape == (picture.shape[0], width, 3)
    quarters = [frames[0][y, x, 0] for y in (12, 36) for x in (width // 4, 3 * width // 4)]
    assert np.allclose(quarters, [250, 170, 90, 0], atol=8)
    assert (
        abs(int(np.argmax(np.abs(np.diff(frames[0][12, :, 0].astype(int))))) - width / 2) <= 2
    )  # the edge between them


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    import av

    for first in (True, False):  # before or after the video stream
        path = tmp_path / "v.mkv"
        with av.open(str(path), "w") as container:
            order = [("mjpeg", "yuvj420p"), ("libx264", "yuv420p")][:: 1 if first else -1]
            streams = {codec: container.add_stream(codec, rate=25) for codec, _ in order}
            for codec, pixels in order:
                streams[codec].width, streams[codec].height, streams[codec].pix_fmt = (
                    matrix.WIDTH,
                    matrix.HEIGHT,
                    pixels,
                )
            streams["mjpeg"].disposition = av.stream.Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(
                np.full((matrix.HEIGHT, matrix.WIDTH, 3), 255, np.uint8), format="rgb24"
            )
            container.mux([*streams["mjpeg"].encode(picture), *streams["mjpeg"].encode()])
            for index in range(20):
                frame = av.VideoFrame.from_ndarray(matrix.drawn(index), format="rgb24")
                container.mux(streams["libx264"].encode(frame))
            container.mux(streams["libx264"].encode())
        assert [matrix.number_of(frame) for frame in decoder.decode(path).frames] == list(range(20))


def test_a_video_that_changes_its_size_is_rejected(tmp_path: Path) -> None:
    for name, size in (("a.ts", (64, 64)), ("b.ts", (96, 64))):
        write(tmp_path / name, size=size)
    path = tmp_path / "both.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with pytest.raises(VideoRejectedError, match="changes its size at frame 20, 64x64 to 96x64"):
        list(decoder.decode(path).frames)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile 'real.mp4'\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder}/real.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S">'
    '<Period><AdaptationSet><Representation id="0" mimeType="video/mp4"><BaseURL>{folder}/real.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"></CompositionPlaylist>',
}


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ts", "mkv", "concat"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_no_file_makes_the_decoder_open_another(
    tmp_path: Path, kind: str, suffix: str, name: decoder.DecoderName
) -> None:
    matrix.write(tmp_path / "real.mp4", "h264", "I")
    matrix.write(tmp_path / "real.ts", "h264", "I")
    path = tmp_path / f"list.{suffix}"
    path.write_text(PLAYLISTS[kind].replace("{folder}", str(tmp_path)))
    with pytest.raises(VideoRejectedError, match="cannot be opened"):
        decoder.decode(path, decoder=name)


@pytest.mark.parametrize("name", ["a:b.mp4", "2024-01-01T10:00:00.mp4", "concat:x.mp4", "data:x.mp4", "100%d?.mp4"])
def test_names_that_look_like_addresses_are_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matrix.write(tmp_path / "plain.mp4", "h264", "I").rename(tmp_path / name)
    assert len(list(decoder.decode(Path(name)).frames)) == matrix.FRAMES


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_videos(tmp_path: Path, suffix: str) -> None:
    """Every frame in its position, with the times that the file gives; transparent pixels are white."""
    frames = [Image.fromarray(matrix.drawn(index)) for index in range(12)]
    clear = Image.new("RGBA", frames[0].size, (0, 0, 0, 0))
    options = {"lossless": True} if suffix == "webp" else {}
    durations = [40] * 6 + [200] * 6
    path = tmp_path / f"v.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, **options)
    decoded = decoder.decode(path)
    assert [matrix.number_of(frame) for frame in decoded.frames] == list(range(12))
    assert np.allclose(decoded.container.times, np.cumsum([0, *durations[:-1]]) / 1000)
    assert not decoded.container.constant_frame_rate and decoder.probe(path).packets == 12
    clear.save(
        path, save_all=True, append_images=[Image.new("RGBA", clear.size, (9, 9, 9, 255))], duration=40, **options
    )
    assert next(iter(decoder.decode(path).frames)).min() == 255
    path.write_bytes(path.read_bytes()[:-20] if suffix == "webp" else path.read_bytes()[:60])
    with pytest.raises(VideoRejectedError, match="damaged"):
        list(decoder.decode(path).frames)


def test_half_an_avi_is_refused_though_decord_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    write(path, codec="ffv1", frames=40)  # large pictures, so that the middle is after the header
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoRejectedError, match=r"is cut short: \d+ of 40 frames"):
        decoder.decode(path)


def test_files_without_pictures_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    for name, reason in (("empty.mp4", "is empty"), ("text.mp4", "cannot be opened"), ("none.mp4", "not a file")):
        with pytest.raises(VideoRejectedError, match=reason) as rejected:
            decoder.decode(tmp_path / name)
        assert str(tmp_path) not in str(rejected.value)


@needs_shared
@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_rotation_is_honored_with_both_decoders(name: decoder.DecoderName) -> None:
    decoded = decoder.decode(SHARED / "clips/rotated_90.mov", decoder=name)
    first = next(iter(decoded.frames))
    assert first.shape == (568, 320, 3)
    assert np.array_equal(first, next(iter(decoder.decode(SHARED / "clips/rotated_90.mov").frames)))


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "broken").glob("*")), ids=lambda path: path.name)
def test_each_broken_file_is_refused(path: Path) -> None:
    with pytest.raises((VideoRejectedError, DecordFailedError)):
        list(decoder.decode(path, decoder="decord").frames)
    with pytest.raises(VideoRejectedError):
        list(decoder.decode(path).frames)
