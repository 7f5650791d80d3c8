"""The size of the file that `digan sample` writes, checked before a video is generated."""

from __future__ import annotations

from pathlib import Path

import psutil

from digan.errors import UserError

SIDES = {".mp4": 16384, ".gif": 65535, ".png": 2**31 - 1}  # longest sides: of libx264 and the two formats
MP4_AREA = 2**28 - 1  # of FFmpeg, with 128 pixels added to each side
COPIES = 3  # of the enlarged pictures that are in memory at once


def check(out: Path, *, videos: int, frames: int, resolution: int, scale: int) -> None:
    """Errors: ``UserError`` if the pictures are larger than the format allows, or if they do not fit into memory."""
    kind, side = out.suffix.lower(), resolution * scale
    width, height, pictures = videos * side, side, frames
    if kind == ".png":  # a row for each video, ``scale`` pixels between two pictures
        width, height, pictures = frames * (side + scale) - scale, videos * (side + scale) - scale, 1
    shown = f"{width}x{height} pixels"
    fewer = "lower --scale" if scale > 1 else ""
    fewer = " or ".join(filter(None, [fewer, "ask for fewer seeds" if videos > 1 else "", "use fewer --frames"]))
    if max(width, height) > SIDES[kind] or (kind == ".mp4" and (width + 128) * (height + 128) > MP4_AREA):
        raise UserError(f"--out {out}: its pictures of {shown} are larger than {kind} allows; {fewer}")
    needed = 2 * videos * frames * 3 * resolution**2 + COPIES * 3 * width * height * pictures
    free = psutil.virtual_memory().available
    if needed > free:
        what = f"{pictures} pictures of {shown}" if pictures > 1 else f"a picture of {shown}"
        raise UserError(
            f"--out {out}: {what} need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; {fewer}"
        )
