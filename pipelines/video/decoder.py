"""Video files -> the frames that a player shows, by PyAV, or by decord where it is chosen and known to give the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines.video import animation, decord_frames
from pipelines.video.decoded import ContainerInfo, Decoded, VideoRejectedError, short_text

DecoderName = Literal["pyav", "decord"]
# Only these formats are opened. Playlists, lists of files and sets of pictures name other files, so they are not here.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,ivf,h264,hevc,mpegvideo,m4v,obu,yuv4mpegpipe,dv"
SUFFIXES = (  # of video files, in folders
    *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"),
    *(".ogg", ".ogv", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m"),
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


def probe(path: Path) -> ContainerInfo:
    """Read the headers, count the packets and decode the first frame; ``VideoRejectedError`` if the file is unusable.

    Not counted are frames that a player does not show: packets outside the edit list, and frames at the start that
    refer to frames before the start.
    """
    import av

    if not path.is_file():
        raise VideoRejectedError("is not a file")
    if path.stat().st_size == 0:
        raise VideoRejectedError("the file is empty")
    if animation.is_animation(path):
        return animation.decode(path).container
    try:
        with _open(path) as container:
            info, total, expected = _container_info(container, _video_stream(container))
        if total < expected:  # packets outside the edit list are not read; count them too
            with _open(path, ignore_editlist="1") as container:
                total = sum(bool(packet.size) for packet in container.demux(_video_stream(container)))
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoRejectedError(f"cannot be opened: {short_text(error)}") from error
    if total < expected:
        raise VideoRejectedError(f"is cut short: {total} of {expected} frames are there")
    return info


def _container_info(container: Any, stream: Any) -> tuple[ContainerInfo, int, int]:
    """The stream's description, the number of packets read, and the number of frames by the header (0: unknown)."""
    if stream.codec_context is None:
        raise VideoRejectedError("has a video stream of an unknown codec")
    total, stamps, first = _read_packets(container, stream)
    if first is None:
        raise VideoRejectedError("has no frames that decode" if total else "has no frames")
    shown = sorted(stamps) if None not in stamps and len(set(stamps)) == len(stamps) else []
    if shown and first.pts is not None:
        shown = shown[np.searchsorted(shown, first.pts) :]
    count = len(shown) or len(stamps)
    height, width = _upright(first, _sample_aspect_ratio(stream)).shape[:2]
    info = ContainerInfo(
        packets=count,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        fps=round(float(stream.average_rate), 6) if stream.average_rate else None,
        times=tuple(float(stamp * stream.time_base) for stamp in shown) if stream.time_base else (),
        not_for_decord=_not_for_decord(container, stream, first, max(total, stream.frames) - count),
    )
    return info, total, stream.frames


def _read_packets(container: Any, stream: Any) -> tuple[int, list[Any], Any]:
    """The number of packets, the time stamps of those that are shown, and the first frame, decoded (``None``: none)."""
    import av

    total, stamps, first = 0, [], None
    for packet in container.demux(stream):
        if first is None:
            with contextlib.suppress(av.FFmpegError):  # a damaged file: decoding it as a whole says where
                first = next((frame for frame in packet.decode() if not frame.is_corrupt), None)
        total += bool(packet.size)
        if packet.size and not packet.is_discard:
            stamps.append(packet.pts)
    return total, stamps, first


def count_frames(address: str) -> int:
    """The number of frames by the file's packets; 0 where it cannot be opened."""
    try:
        return probe(Path(address)).packets
    except VideoRejectedError:
        return 0


def decode(path: Path, *, decoder: DecoderName = "pyav", note: str = "") -> Decoded:
    """Open a video; frames are decoded lazily, so memory does not grow with its length.

    ``VideoRejectedError`` is raised here, or while iterating, where the file cannot be read or frames are missing. With
    ``decoder="decord"``, PyAV still decodes the files for which decord is known to differ, and ``DecordFailedError`` may
    be raised while iterating: then call again for PyAV, with the error's text as ``note``.
    """
    if path.is_file() and animation.is_animation(path):
        return animation.decode(path)
    container = probe(path)
    if decoder == "decord":
        reader, note = decord_frames.open_reader(path, container)
        if reader is not None:
            return Decoded(frames=decord_frames.read(reader, container), container=container, decoder="decord", note="")
    return Decoded(frames=_pyav_frames(path, container), container=container, decoder="pyav", note=note)


def at_rate(container: ContainerInfo, fps: float) -> list[int]:
    """The indices of the frames to take for ``fps`` frames per second: for each moment the frame shown then.

    The frame of a slow stretch may repeat. ``VideoRejectedError`` where the video has fewer frames per second.
    """
    count = container.packets
    times = container.times
    if not times:
        if not container.fps:
            raise VideoRejectedError(f"has no frame rate, and clips.fps={fps:g} needs one; set clips.fps=0")
        times = tuple(index / container.fps for index in range(count))
    intervals = np.diff(times)
    length = times[-1] - times[0] + (float(np.median(intervals)) if len(intervals) else 1 / fps)
    if count < 0.99 * fps * length:
        raise VideoRejectedError(f"has {count / length:.3g} frames a second, fewer than clips.fps={fps:g}")
    moments = times[0] + (np.arange(max(1, int(length * fps + 1e-6))) + 0.5) / fps
    return np.maximum(np.searchsorted(times, moments, side="right") - 1, 0).tolist()


def taken(frames: Iterator[np.ndarray], indices: list[int]) -> Iterator[np.ndarray]:
    """The frames with these indices, which must not decrease; a repeated index repeats its frame."""
    position = 0
    for index, frame in enumerate(frames):
        while position < len(indices) and indices[position] == index:
            yield frame
            position += 1


def _open(path: Path, **options: str) -> Any:
    """PyAV's container. Only the protocol ``file`` and the formats in ``FORMATS`` are allowed."""
    import av

    return av.open(f"file:{path.absolute()}", container_options=OPEN_OPTIONS | options)


def _video_stream(container: Any) -> Any:
    """The stream that a player shows: not a cover picture or thumbnail."""
    import av

    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kind = "only a cover picture" if container.streams.video else "no video stream"
        raise VideoRejectedError(f"has {kind}")
    best = container.streams.best("video")
    return best if best in streams else streams[0]


def _pyav_frames(path: Path, container: ContainerInfo) -> Iterator[np.ndarray]:
    import av

    count = 0
    try:
        with _open(path) as opened:
            stream = _video_stream(opened)
            stream.codec_context.thread_count = 1
            ratio = _sample_aspect_ratio(stream)
            for frame in opened.decode(stream):
                if frame.is_corrupt and count:
                    raise VideoRejectedError(f"is damaged at frame {count}")
                if not frame.is_corrupt:
                    picture = _upright(frame, ratio)
                    size = (picture.shape[1], picture.shape[0])
                    if size != (container.width, container.height):
                        change = f"{container.width}x{container.height} to {size[0]}x{size[1]}"
                        raise VideoRejectedError(f"changes its size at frame {count}, {change}; cut it there")
                    yield picture
                    count += 1
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoRejectedError(f"is damaged after {count} frames: {short_text(error)}") from error
    if count < container.packets:
        raise VideoRejectedError(f"is damaged: {count} of {container.packets} frames decode")


def _upright(frame: Any, sample_aspect_ratio: float) -> np.ndarray:
    """uint8 [H, W, 3] with square pixels, by scaling the width, then rotated and mirrored by the display matrix.

    The matrix maps a pixel (x, y) to (a x + c y, b x + d y); it is rounded to the nearest of the eight orientations.
    """
    width = max(1, round(frame.width * sample_aspect_ratio))
    if width == frame.width:
        picture = frame.to_ndarray(format="rgb24", threads=1)
    else:
        picture = frame.reformat(width, frame.height, format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
    a, b, c, d = _display_matrix(frame)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
    return np.ascontiguousarray(picture.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1])


def _sample_aspect_ratio(stream: Any) -> float:
    return float(stream.sample_aspect_ratio or 1)


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """The entries a, b, c, d of the display matrix; the identity where the file has none."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _not_for_decord(container: Any, stream: Any, first: Any, hidden: int) -> str:
    """Why decord would show other frames than a player does (docs/data.md has the matrix of formats); "" if not."""
    a, b, c, d = _display_matrix(first)
    reasons = {
        f"{container.format.name} files": container.format.name.split(",")[0] not in ("mov", "matroska", "avi"),
        "frames that are not shown": hidden > 0,
        "pixels that are not square": _sample_aspect_ratio(stream) != 1,
        "rotated or mirrored video": a <= 0 or d <= 0 or b or c,
        "several video streams": len(container.streams.video) > 1,
    }
    return next((f"decord is not used for {reason}" for reason, holds in reasons.items() if holds), "")
