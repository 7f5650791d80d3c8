"""Videos of every kind that cameras and encoders make, encoded here by PyAV: read rightly, or refused with the reason."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.ingest import ingest
from pipelines.video import decoder, transcode
from pipelines.video.transcode import EncodeJob
from tests.conftest import clips_config, shards_config, source_config

SHARED = Path(__file__).parents[4] / "shared" / "data"
SHORT = clips_config(resolution=32, frames=4)


def pictures(count: int, width: int, height: int) -> list[np.ndarray]:
    """A bright bar that walks over a smooth ground: no two frames are alike, and codecs keep them well."""
    ground = np.linspace(40, 120, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None] + np.zeros(3)
    found = []
    for number in range(count):
        frame = ground.copy()
        left = number * (width - width // 8) // max(count - 1, 1)
        frame[:, left : left + width // 8] = (230, 60, 90)
        found.append(frame.clip(0, 255).astype(np.uint8))
    return found


def write(
    path: Path,
    frames: list[np.ndarray],
    codec: str,
    *,
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode; ``times`` are the frames' time stamps in hundredths of a second, every four if not given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def job(path: Path, **changes: object) -> EncodeJob:
    return EncodeJob(
        path=path, clips=clips_config(**{"resolution": 32, "frames": 4, **changes}), encoding="png", jpeg_quality=95
    )


KINDS = {
    "h264.mp4": ("libx264", "yuv420p", {"preset": "ultrafast"}),
    "hevc.mp4": ("libx265", "yuv420p", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "hevc10.mkv": ("libx265", "yuv420p10le", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "h264_10.mp4": ("libx264", "yuv420p10le", {"preset": "ultrafast"}),
    "av1.mp4": ("libsvtav1", "yuv420p", {"preset": "12"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    "ffv1.mkv": ("ffv1", "yuv444p", {}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"qscale": "2"}),
    "h264_444.mp4": ("libx264", "yuv444p", {"preset": "ultrafast"}),
    "gray.mkv": ("ffv1", "gray", {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_of_every_codec(tmp_path: Path, name: str) -> None:
    """Each frame shows the bar where it was drawn, whichever decoder reads it; the codec's loss is small."""
    codec, pixels, options = KINDS[name]
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no {codec}")
    drawn = pictures(12, 96, 64)
    decoded = decoder.decode(write(tmp_path / name, drawn, codec, pixels=pixels, options=options))
    found = list(decoded.frames)
    assert len(found) == 12 and decoded.decoder in ("decord", "pyav")
    if pixels == "gray":
        drawn = [np.repeat(f @ [[0.299], [0.587], [0.114]], 3, axis=2) for f in drawn]
    for one, other in zip(found, drawn, strict=True):
        assert one.shape == (64, 96, 3)
        assert np.abs(one.astype(float) - other).mean() < 9, decoded.decoder


@pytest.mark.parametrize("size", [(97, 65), (33, 31), (48, 48), (16, 90), (24, 72), (130, 50), (5, 3)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    drawn = pictures(8, *size)
    path = write(tmp_path / "x.mkv", drawn, "ffv1", pixels="yuv444p")
    found = list(decoder.decode(path).frames)
    assert len(found) == 8
    for one, other in zip(found, drawn, strict=True):
        assert one.shape == other.shape and np.abs(one.astype(float) - other).mean() < 3
    assert transcode.encode_video(job(path)).segments


def test_varying_frame_rates_are_known_and_can_be_evened(tmp_path: Path) -> None:
    """Ten frames quickly, then ten at a fifth of the pace: at 5 frames a second each moment shows its own frame."""
    times = [*range(0, 40, 4), *range(40, 240, 20)]
    path = write(tmp_path / "x.mkv", pictures(20, 64, 64), "ffv1", pixels="yuv444p", times=times)
    container = decoder.probe(path)
    assert not container.constant_frame_rate and container.packets == 20
    assert np.allclose(container.times, np.array(times) / 100)
    numbers = decoder.at_rate(container, 5)
    moments = (np.arange(len(numbers)) + 0.5) / 5
    expected = [max(k for k, t in enumerate(times) if t / 100 <= m + 1e-9) for m in moments]
    assert numbers == expected and len(numbers) == pytest.approx(2.4 * 5, abs=1)
    done = transcode.encode_video(job(path, fps=5.0))
    assert not done.constant_frame_rate and done.fps == 5.0 and set(done.segments[0].numbers) == set(numbers)
    with pytest.raises(decoder.VideoRejectedError, match=r"has 8\.\d+ frames a second, fewer than clips\.fps=25"):
        decoder.at_rate(container, 25)


def test_a_target_rate_halves_a_steady_video(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4", pictures(40, 64, 64), "libx264")
    assert decoder.probe(path).constant_frame_rate
    done = transcode.encode_video(job(path, fps=12.5))
    numbers = sorted({n for segment in done.segments for n in segment.numbers})
    assert len(numbers) == 20 and set(np.diff(numbers)) == {2}
    same = transcode.encode_video(job(path, fps=25.0))
    assert sorted({n for segment in same.segments for n in segment.numbers}) == list(range(40))
    assert transcode.encode_video(job(path, fps=50.0)).rejected.startswith("has 25 frames a second")


def test_short_still_and_black_videos_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mkv", pictures(12, 64, 64), "ffv1", pixels="yuv444p")
    assert transcode.encode_video(job(path, min_frames=13)).rejected == "is too short: 12 frames, clips.min_frames=13"
    assert transcode.encode_video(job(path, min_frames=12)).segments
    still = write(tmp_path / "still.mkv", pictures(1, 64, 64) * 12, "ffv1", pixels="yuv444p")
    black = write(tmp_path / "black.mkv", [np.zeros((64, 64, 3), np.uint8)] * 12, "ffv1", pixels="yuv444p")
    assert "no clip that moves" in transcode.encode_video(job(still, drop_static=0.3)).rejected
    assert "not black" in transcode.encode_video(job(black, drop_black=8.0)).rejected
    assert transcode.encode_video(job(still)).segments and transcode.encode_video(job(path, drop_static=0.3)).segments


def test_files_without_a_picture_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert transcode.encode_video(job(tmp_path / "sound.mp4")).rejected == "has no video stream"
    one = write(tmp_path / "one.mp4", pictures(1, 64, 64), "libx264")
    assert transcode.encode_video(job(one)).rejected == "is too short: 1 frames, a clip needs 4"


def mutations(good: list[Path], folder: Path, count: int) -> list[str]:
    """Damaged copies: cut, with flipped bytes, with runs of zeros; the names of those in ``folder``."""
    random = np.random.default_rng(7)
    names = []
    for number in range(count):
        path = good[number % len(good)]
        data = bytearray(path.read_bytes())
        kind = ("cut", "flip", "zero")[number % 3]
        if kind == "cut":
            data = data[: random.integers(1, len(data))]
        elif kind == "flip":
            for place in random.integers(0, len(data), 1 + len(data) // 500):
                data[place] ^= int(random.integers(1, 256))
        else:
            start = int(random.integers(0, len(data)))
            length = int(random.integers(64, max(65, len(data) // 4)))
            data[start : start + length] = bytes(min(length, len(data) - start))
        names.append(f"{kind}{number:03d}{path.suffix}")
        (folder / names[-1]).write_bytes(data)
    return names


def test_mutations_and_broken_files_cost_nothing_else(tmp_path: Path) -> None:
    """In one ingest: no crash, no hang; each is used whole or named with its reason, and all good ones are in."""
    check_mutations(tmp_path, 18)


@pytest.mark.slow
def test_a_hundred_mutations(tmp_path: Path) -> None:
    check_mutations(tmp_path, 100)


def check_mutations(tmp_path: Path, count: int) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    good = [
        write(raw / "good1.mp4", pictures(30, 96, 64), "libx264"),
        write(raw / "good2.avi", pictures(30, 96, 64), "mpeg4"),
        write(raw / "good3.webm", pictures(30, 96, 64), "libvpx-vp9", options={"deadline": "realtime"}),
        write(raw / "good4.mkv", pictures(30, 96, 64), "ffv1", pixels="yuv444p"),
    ]
    if SHARED.is_dir() and count > 50:
        for path in sorted((SHARED / "clips").iterdir()):
            good.append(raw / f"real_{path.name}")
            good[-1].write_bytes(path.read_bytes())
        for path in (SHARED / "broken").iterdir():
            (raw / f"broken_{path.name}").write_bytes(path.read_bytes())
    damaged = mutations(good, raw, count)
    everything = {path.name for path in raw.iterdir()}
    source = source_config(name="folder", path=str(raw), max_rejected=1.0)
    ingest(source, clips_config(resolution=32, frames=2, validation_share=0.3), shards_config(), tmp_path / "out")
    report = json.loads((tmp_path / "out/ingest_report.json").read_text())
    rejected = report["rejected"]
    assert report["videos"] == len(everything) and report["used"] == len(everything) - len(rejected)
    assert not {path.name for path in good} & set(rejected)
    assert all(reason for reason in rejected.values())
    assert report["decoders"] == {"pyav": report["used"]}
    assert {name for name in everything if name.startswith("broken_")} <= set(rejected)
    assert len([name for name in damaged if name in rejected]) > count / 4  # and damage that no decoder notices is none
