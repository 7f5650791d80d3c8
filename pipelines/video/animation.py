"""Animated GIF and WebP files -> frames, by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from pipelines.video.decoded import ContainerInfo, Decoded, VideoRejectedError, short_text

FORMATS = ("GIF", "WEBP")
SHORTEST, DEFAULT = 10, 100  # ms: as in browsers, frames of at most 10 ms last 100 ms


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF or WebP by its first bytes."""
    with path.open("rb") as file:
        start = file.read(12)
    return start[:4] == b"GIF8" or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def decode(path: Path) -> Decoded:
    """The frames, transparent pixels on white; ``VideoRejectedError``, here or while iterating, if the file is damaged."""
    ends = [0]
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            codec = str(image.format).lower()
            for frame in ImageSequence.Iterator(image):
                frame.load()  # WebP knows the duration of a frame only then
                duration = int(frame.info.get("duration", 0))
                ends.append(ends[-1] + (duration if duration > SHORTEST else DEFAULT))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise VideoRejectedError(f"is damaged after {len(ends) - 1} frames: {short_text(error)}") from error
    count = len(ends) - 1
    container = ContainerInfo(
        packets=count,
        codec=codec,
        width=width,
        height=height,
        fps=round(1000 * count / ends[-1], 6),
        times=tuple(end / 1000 for end in ends[:-1]),
    )
    return Decoded(frames=_frames(path), container=container, decoder="pillow", note="")


def _frames(path: Path) -> Iterator[np.ndarray]:
    with Image.open(path, formats=FORMATS) as image:
        for frame in ImageSequence.Iterator(image):
            layer = frame.convert("RGBA")
            yield np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
