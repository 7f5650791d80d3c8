"""One raw video -> the encoded pictures of its segments; runs in an isolated process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from digan.data.clips import ClipsConfig, WindowMode, frames_needed, segments
from pipelines.video import decoder, frame_folder, image_codec
from pipelines.video.decoded import Decoded, DecordFailedError, VideoRejectedError

Kind = Literal["video", "frames", "strip"]  # a file | a folder of pictures | one picture with all frames in a row
FUNCTION = "pipelines.video.transcode:encode_video"
SAMPLED = 8  # every SAMPLED-th stored frame enters the statistics


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Sums over sampled frames: values per channel, their sum and their sum of squares. Integers, so the order of the
    frames does not matter.
    """

    values: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)
    squares: tuple[int, int, int] = (0, 0, 0)

    def with_frame(self, frame_hwc: np.ndarray) -> ChannelStatistics:
        """The sums with one more frame, uint8 [H, W, 3]."""
        counts = np.array(Image.fromarray(frame_hwc).histogram()).reshape(3, 256)
        levels = np.arange(256)
        sums, squares = (counts @ levels).tolist(), (counts @ levels**2).tolist()
        return self + ChannelStatistics(
            values=frame_hwc.shape[0] * frame_hwc.shape[1], sums=tuple(sums), squares=tuple(squares)
        )

    def __add__(self, other: ChannelStatistics) -> ChannelStatistics:
        return ChannelStatistics(
            values=self.values + other.values,
            sums=tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),  # type: ignore[arg-type]
            squares=tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),  # type: ignore[arg-type]
        )

    def described(self) -> dict[str, list[float]]:
        """Mean and standard deviation of red, green and blue, from 0 to 255."""
        if not self.values:
            return {}
        means = [total / self.values for total in self.sums]
        spreads = [max(q / self.values - mean**2, 0) ** 0.5 for q, mean in zip(self.squares, means, strict=True)]
        return {"mean": [round(mean, 3) for mean in means], "std": [round(spread, 3) for spread in spreads]}


@dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """A video for ``encode_video``."""

    path: Path
    clips: ClipsConfig
    encoding: str
    jpeg_quality: int
    kind: Kind = "video"
    window_mode: WindowMode = "overlapping"
    decoder: decoder.DecoderName = "pyav"
    seconds: float = 60.0  # time limit


@dataclass(frozen=True, kw_only=True)
class EncodedSegment:
    """The encoded frames of a segment and their numbers in the video."""

    pictures: tuple[bytes, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """The segments of a video, or in ``rejected`` the reason why there are none.

    ``note`` says why PyAV decoded it, ``fps`` is the rate of the frames that were taken, ``size`` is width and height.
    """

    segments: tuple[EncodedSegment, ...]
    rejected: str
    decoder: str = ""
    note: str = ""
    fps: float | None = None
    frames: int = 0
    size: tuple[int, int] = (0, 0)
    codec: str = ""
    constant_frame_rate: bool = True
    levels: ChannelStatistics = field(default_factory=ChannelStatistics)


def rejection(reason: str) -> EncodedVideo:
    """The result for a video that cannot be used."""
    return EncodedVideo(segments=(), rejected=reason)


def encode_video(job: EncodeJob) -> EncodedVideo:
    """Decode, cut and encode one video.

    Holds the encoded pictures of the whole video, so that a damaged one adds nothing to a shard.
    """
    try:
        decoded = _open(job)
        try:
            done, levels = _encode(decoded, job)
        except DecordFailedError as error:
            decoded = decoder.decode(job.path, note=str(error))
            done, levels = _encode(decoded, job)
    except VideoRejectedError as error:
        return rejection(str(error))
    container = decoded.container
    if not done:
        needed = frames_needed(job.clips, job.window_mode)
        if container.packets >= needed and (job.clips.drop_static or job.clips.drop_black):
            return rejection("has no clip that moves and is not black (clips.drop_static, clips.drop_black)")
        return rejection(f"is too short: {container.packets} frames, a clip needs {needed}")
    return EncodedVideo(
        segments=done,
        rejected="",
        decoder=decoded.decoder,
        note=decoded.note,
        fps=job.clips.fps or container.fps,
        frames=container.packets,
        size=(container.width, container.height),
        codec=container.codec,
        constant_frame_rate=container.constant_frame_rate,
        levels=levels,
    )


def _open(job: EncodeJob) -> Decoded:
    if job.kind == "frames":
        return frame_folder.decode_folder(job.path)
    return frame_folder.decode_strip(job.path) if job.kind == "strip" else decoder.decode(job.path, decoder=job.decoder)


def _encode(decoded: Decoded, job: EncodeJob) -> tuple[tuple[EncodedSegment, ...], ChannelStatistics]:
    container, clips = decoded.container, job.clips
    if container.packets < clips.min_frames:
        raise VideoRejectedError(f"is too short: {container.packets} frames, clips.min_frames={clips.min_frames}")
    chosen, numbers = decoded.frames, None
    if clips.fps and job.kind == "video":
        numbers = decoder.at_rate(container, clips.fps)
        chosen = decoder.taken(chosen, numbers)
    levels = ChannelStatistics()
    found: list[EncodedSegment] = []
    shared: dict[int, bytes] = {}  # pictures of the previous segment, some of which this one may repeat
    for segment in segments(chosen, clips, job.window_mode):
        encoded = []
        for place, frame in zip(segment.frame_numbers, segment.frames, strict=True):
            data = shared.get(place)
            if data is None:
                data = image_codec.encode(frame, job.encoding, job.jpeg_quality)
                if place % SAMPLED == 0:
                    levels = levels.with_frame(frame)
            encoded.append(data)
        shared = dict(zip(segment.frame_numbers, encoded, strict=True))
        own = tuple(segment.frame_numbers if numbers is None else (numbers[place] for place in segment.frame_numbers))
        found.append(EncodedSegment(pictures=tuple(encoded), numbers=own))
    return tuple(found), levels
