"""Video files -> frames, by decord, whose count is compared with the container's, or by PyAV where decord fails."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

CHUNK, CHUNK_BYTES = 32, 2**25  # frames per call of decord, and their total size at most
DECORD_WRONG_WIDTHS = frozenset((16, 24, 48, 72))  # 'The size must exactly match': decord 0.6.0 fails on these


class VideoRejectedError(Exception):
    """A video that cannot be used; the text is the reason, without the file's name."""


class DecordFailedError(Exception):
    """decord failed in the middle of a file: decode it again from the start, by PyAV."""


@dataclass(frozen=True, kw_only=True)
class ContainerInfo:
    """The picture stream of a file: frames counted by packets and by the header (0: unknown), codec, frames a second,
    and the time of each frame in seconds (empty: unknown).
    """

    packets: int
    header_frames: int
    codec: str
    width: int
    height: int
    fps: float | None
    times: tuple[float, ...] = ()

    @property
    def constant_frame_rate(self) -> bool:
        """Whether the frame rate is constant: no interval is more than 1.5 times the median."""
        pauses = np.diff(self.times)
        return len(pauses) < 2 or bool(pauses.max() <= 1.5 * np.median(pauses))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Frames of a video, uint8 [H, W, 3], upright, one by one; ``decoder`` is decord, pyav or pillow."""

    frames: Iterator[np.ndarray]
    container: ContainerInfo
    decoder: str
    note: str


def probe(path: Path) -> ContainerInfo:
    """Read the headers and count the packets of the first picture stream without decoding; ``VideoRejectedError`` on failure."""
    import av

    if not path.is_file():
        raise VideoRejectedError("is not a file")
    if path.stat().st_size == 0:
        raise VideoRejectedError("the file is empty")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoRejectedError("has no picture stream")
            stream = container.streams.video[0]
            rate: Fraction | None = stream.average_rate
            stamps = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
            known = stream.time_base is not None and None not in stamps and len(set(stamps)) == len(stamps)
            times = tuple(float(stamp * stream.time_base) for stamp in sorted(stamps)) if known else ()
            context = stream.codec_context
            if context is None:
                raise VideoRejectedError("has a picture stream of unknown coding")
            return ContainerInfo(
                packets=len(stamps),
                header_frames=stream.frames,
                codec=context.name,
                width=context.width,
                height=context.height,
                fps=round(float(rate), 6) if rate else None,
                times=times,
            )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoRejectedError(f"cannot be opened: {_short(error)}") from error


def count_frames(address: str) -> int:
    """The number of frames by the file's packets; 0 where it cannot be opened."""
    try:
        return probe(Path(address)).packets
    except VideoRejectedError:
        return 0


def decode(path: Path, *, without_decord: str = "") -> Decoded:
    """Open a video; frames are decoded lazily, so memory does not grow with its length.

    ``VideoRejectedError`` is raised here, or while iterating, where neither decoder reads the file or frames are missing. decord's
    count is compared first, because decord loses frames silently. ``DecordFailedError`` may be raised while iterating: then
    call again with its text as ``without_decord``, the reason to use PyAV.
    """
    container = probe(path)
    if container.packets == 0:
        raise VideoRejectedError("has no frames")
    if container.packets < container.header_frames:
        raise VideoRejectedError(f"is cut short: {container.packets} of {container.header_frames} frames are there")
    reader, reason = (None, without_decord) if without_decord else _open_with_decord(path, container)
    if reader is not None:
        return Decoded(
            frames=_decord_frames(reader, 3 * container.width * container.height),
            container=container,
            decoder="decord",
            note="",
        )
    return Decoded(frames=_pyav_frames(path, container), container=container, decoder="pyav", note=reason)


def at_rate(container: ContainerInfo, fps: float) -> list[int]:
    """The numbers of the frames to take for ``fps`` frames a second: for each moment the frame shown then.

    A frame of a slow stretch may repeat. ``VideoRejectedError`` where the video has fewer frames a second.
    """
    count = container.packets
    times = container.times
    if not times:
        if not container.fps:
            raise VideoRejectedError(f"has no frame rate, and clips.fps={fps:g} asks for one; set it to 0")
        times = tuple(number / container.fps for number in range(count))
    pauses = np.diff(times)
    length = times[-1] - times[0] + (float(np.median(pauses)) if len(pauses) else 1 / fps)
    if count < 0.99 * fps * length:
        raise VideoRejectedError(f"has {count / length:.3g} frames a second, fewer than clips.fps={fps:g}")
    moments = times[0] + (np.arange(max(1, int(length * fps + 1e-6))) + 0.5) / fps
    return np.maximum(np.searchsorted(times, moments, side="right") - 1, 0).tolist()


def taken(frames: Iterator[np.ndarray], numbers: list[int]) -> Iterator[np.ndarray]:
    """The frames with these numbers, which must not decrease; a repeated number repeats its frame."""
    place = 0
    for number, frame in enumerate(frames):
        while place < len(numbers) and numbers[place] == number:
            yield frame
            place += 1


def _open_with_decord(path: Path, container: ContainerInfo) -> tuple[Any, str]:
    """decord's reader if it finds all frames, else ``None`` and the reason to use PyAV."""
    if {container.width, container.height} & DECORD_WRONG_WIDTHS:
        return None, f"decord fails on this width: {container.width}x{container.height}"
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != container.packets:
            return None, f"decord finds {len(reader)} of {container.packets} frames"
    except Exception as error:  # decord raises RuntimeError and DECORDError, which share no other base
        return None, f"decord: {_short(error)}"
    return reader, ""


def _decord_frames(reader: Any, frame_bytes: int) -> Iterator[np.ndarray]:
    from torch.utils.dlpack import from_dlpack

    try:
        size = max(1, min(CHUNK, CHUNK_BYTES // max(1, frame_bytes)))
        for start in range(0, len(reader), size):
            batch = reader.get_batch(range(start, min(start + size, len(reader))))
            yield from from_dlpack(batch.to_dlpack()).numpy()  # its own memory, not a copy
    except Exception as error:
        raise DecordFailedError(f"decord: {_short(error)}") from error


def _pyav_frames(path: Path, container: ContainerInfo) -> Iterator[np.ndarray]:
    import av

    count = 0
    try:
        with contextlib.closing(av.open(str(path))) as opened:
            stream = opened.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in opened.decode(stream):
                if frame.is_corrupt:
                    raise VideoRejectedError(f"is damaged at frame {count}")
                turns = round(frame.rotation / 90) % 4  # quarter turns against the clock
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                count += 1
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoRejectedError(f"is damaged after {count} frames: {_short(error)}") from error
    if count < container.header_frames:
        raise VideoRejectedError(f"is damaged: {count} of {container.header_frames} frames decode")
    if count == 0:
        raise VideoRejectedError("has no frames that decode")


def _short(error: Exception) -> str:
    """The useful line of an error, for people, without decord's time stamps and source paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Stack trace" not in line]
    text = (lines[0] if lines else type(error).__name__).rsplit("] ", 1)[-1]
    return re.sub(r": '[^']*'$|^/\S+:\d+: ", "", text)[:160]
