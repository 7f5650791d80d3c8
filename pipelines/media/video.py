"""Video files to frames: decord, checked against the container's own count, and PyAV where decord fails."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

CHUNK = 32  # frames that decord hands over at once
DECORD_WRONG_WIDTHS = frozenset((16, 24, 48, 72))  # 'The size must exactly match': decord 0.6.0 fails on these


class Refused(Exception):
    """A video that cannot be used; the text is the reason, without the file's name."""


class DecordFailed(Exception):
    """decord gave up in the middle of a file: decode it again, by PyAV, from the start."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a file says of its picture stream: frames counted by its packets and by its header (0: says nothing),
    codec, rate.
    """

    packets: int
    header_frames: int
    codec: str
    width: int
    height: int
    fps: float | None


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Frames of a video, uint8 [H, W, 3] one by one and upright, and how they are read: ``decoder`` is decord or
    pyav.
    """

    frames: Iterator[np.ndarray]
    container: Container
    decoder: str
    note: str


def probe(path: Path) -> Container:
    """Read the headers and count the packets of the first picture stream, decoding nothing; ``Refused`` with the
    reason.
    """
    import av

    if not path.is_file():
        raise Refused("is not a file")
    if path.stat().st_size == 0:
        raise Refused("the file is empty")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Refused("has no picture stream")
            stream = container.streams.video[0]
            rate: Fraction | None = stream.average_rate
            packets = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
            context = stream.codec_context
            if context is None:
                raise Refused("has a picture stream of unknown coding")
            return Container(
                packets=packets,
                header_frames=stream.frames,
                codec=context.name,
                width=context.width,
                height=context.height,
                fps=round(float(rate), 6) if rate else None,
            )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Refused(f"cannot be opened: {_short(error)}") from error


def decode(path: Path, *, without_decord: str = "") -> Decoded:
    """Open a video; frames come as they are asked for, so memory does not grow with its length.

    ``Refused`` is raised here, or while iterating, where neither decoder reads the file or it has fewer frames than
    it says. decord's own count is compared first, because it loses frames in silence. ``DecordFailed`` may be raised
    while iterating: then ask again with its text as ``without_decord``, the reason to use PyAV.
    """
    container = probe(path)
    if container.packets == 0:
        raise Refused("has no frames")
    if container.packets < container.header_frames:
        raise Refused(f"is cut short: {container.packets} of {container.header_frames} frames are there")
    reason = without_decord or _why_not_decord(path, container)
    if not reason:
        return Decoded(frames=_decord_frames(path), container=container, decoder="decord", note="")
    return Decoded(frames=_pyav_frames(path, container), container=container, decoder="pyav", note=reason)


def _why_not_decord(path: Path, container: Container) -> str:
    """An empty text where decord opens the file with all its frames, else the reason for PyAV."""
    if {container.width, container.height} & DECORD_WRONG_WIDTHS:
        return f"decord fails on this width: {container.width}x{container.height}"
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != container.packets:
            return f"decord finds {len(reader)} of {container.packets} frames"
        reader[0]
    except Exception as error:  # decord raises RuntimeError and DECORDError, which have nothing in common
        return f"decord: {_short(error)}"
    return ""


def _decord_frames(path: Path) -> Iterator[np.ndarray]:
    import decord

    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        for start in range(0, len(reader), CHUNK):
            yield from reader.get_batch(range(start, min(start + CHUNK, len(reader)))).asnumpy()
    except Exception as error:
        raise DecordFailed(f"decord: {_short(error)}") from error


def _pyav_frames(path: Path, container: Container) -> Iterator[np.ndarray]:
    import av

    count = 0
    try:
        with contextlib.closing(av.open(str(path))) as opened:
            stream = opened.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in opened.decode(stream):
                if frame.is_corrupt:
                    raise Refused(f"is damaged at frame {count}")
                turns = round(frame.rotation / 90) % 4  # quarter turns against the clock
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                count += 1
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Refused(f"is damaged after {count} frames: {_short(error)}") from error
    if count < container.header_frames:
        raise Refused(f"is damaged: {count} of {container.header_frames} frames decode")
    if count == 0:
        raise Refused("has no frames that decode")


def _short(error: Exception) -> str:
    """The last useful line of an error, without decord's time stamps and source paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Stack trace" not in line]
    text = (lines[0] if lines else type(error).__name__).rsplit("] ", 1)[-1]
    return re.sub(r": '[^']*'$|^/\S+:\d+: ", "", text)[:160]
