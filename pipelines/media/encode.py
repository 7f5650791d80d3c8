"""One raw video to the encoded pictures of its segments: what runs in an isolated process, and needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from digan.data.clips import ClipsConfig, Cut, frames_needed, segments
from pipelines.media import frames, pictures, video

Kind = Literal["video", "frames", "strip"]  # a file | a folder of pictures | one picture with all frames in a row
FUNCTION = "pipelines.media.encode:encode_video"


@dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """What an isolated process is asked to do."""

    path: Path
    clips: ClipsConfig
    encoding: str
    jpeg_quality: int
    kind: Kind = "video"
    cut: Cut = "every"


@dataclass(frozen=True, kw_only=True)
class EncodedSegment:
    """The pictures of a segment and the numbers these frames have in the video."""

    pictures: tuple[bytes, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """What came of a job: the segments, or in ``refused`` why there are none; ``note`` says why PyAV had to step in."""

    segments: tuple[EncodedSegment, ...]
    refused: str
    decoder: str
    note: str
    fps: float | None
    frames: int


def refusal(reason: str) -> EncodedVideo:
    """The outcome of a video that cannot be used."""
    return EncodedVideo(segments=(), refused=reason, decoder="", note="", fps=None, frames=0)


def encode_video(job: EncodeJob) -> EncodedVideo:
    """Decode, cut and encode one video. Holds the encoded pictures of the whole video, so that a damaged one leaves
    nothing behind.
    """
    try:
        decoded = _open(job)
        try:
            done = _encode(decoded, job)
        except video.DecordFailed as error:
            decoded = video.decode(job.path, without_decord=str(error))
            done = _encode(decoded, job)
    except video.Refused as error:
        return refusal(str(error))
    if not done:
        needed = frames_needed(job.clips, job.cut)
        return refusal(f"is too short: {decoded.container.packets} frames, a clip needs {needed}")
    return EncodedVideo(
        segments=done,
        refused="",
        decoder=decoded.decoder,
        note=decoded.note,
        fps=decoded.container.fps,
        frames=decoded.container.packets,
    )


def _open(job: EncodeJob) -> video.Decoded:
    if job.kind == "frames":
        return frames.decode_folder(job.path)
    return frames.decode_strip(job.path) if job.kind == "strip" else video.decode(job.path)


def _encode(decoded: video.Decoded, job: EncodeJob) -> tuple[EncodedSegment, ...]:
    return tuple(
        EncodedSegment(
            pictures=tuple(pictures.encode(frame, job.encoding, job.jpeg_quality) for frame in segment.frames),
            numbers=segment.numbers,
        )
        for segment in segments(decoded.frames, job.clips, job.cut)
    )
