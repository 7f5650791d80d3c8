"""Pictures and videos for people: mp4, gif and png. Written atomically; equal input gives equal bytes.

Legend: B videos, T times, H, W pixels. Videos are uint8 torch tensors, channels before rows, RGB.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from digan.atomic import write_bytes
from digan.errors import UserError

MOST_FPS = 120


def write_video(path: str | os.PathLike[str], frames: torch.Tensor, fps: float = 8, *, scale: int = 1) -> Path:
    """H.264 (yuv420p, which every browser plays) in mp4. ``frames`` is uint8 [T, 3, H, W]; ``scale`` enlarges by whole
    pixels.
    """
    import av  # half a second of libraries that only this function needs

    _check_fps(fps)
    pictures = _even(enlarge(frames, scale))
    height, width = pictures.shape[1:3]
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "14", "preset": "medium", "threads": "1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return write_bytes(path, memory.getvalue())


def write_gif(path: str | os.PathLike[str], frames: torch.Tensor, fps: float = 8, *, scale: int = 1) -> Path:
    """An endless gif of uint8 [T, 3, H, W]; all frames share one palette, so that plain backgrounds do not flicker."""
    _check_fps(fps)
    pictures = enlarge(frames, scale)
    everything = Image.fromarray(pictures.reshape(-1, *pictures.shape[2:]))
    palette = everything.quantize(colors=256, method=Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    memory = io.BytesIO()
    images[0].save(memory, "gif", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return write_bytes(path, memory.getvalue())


def write_strip(path: str | os.PathLike[str], videos: torch.Tensor, scale: int = 1, *, gap: int = 1) -> Path:
    """A png with one row a video and one column a time. ``videos`` is uint8 [B, T, 3, H, W]; ``gap`` white pixels lie
    between.

    The picture is scale * (B * (H + gap) - gap) pixels high and scale * (T * (W + gap) - gap) wide.
    """
    b, t, _, h, w = videos.shape
    canvas = np.full((b * (h + gap) - gap, t * (w + gap) - gap, 3), 255, np.uint8)
    pixels = videos.detach().cpu().permute(0, 1, 3, 4, 2).numpy()
    for row in range(b):
        for column in range(t):
            top, left = row * (h + gap), column * (w + gap)
            canvas[top : top + h, left : left + w] = pixels[row, column]
    memory = io.BytesIO()
    Image.fromarray(canvas.repeat(scale, 0).repeat(scale, 1)).save(memory, "png")
    return write_bytes(path, memory.getvalue())


def enlarge(frames: torch.Tensor, scale: int) -> np.ndarray:
    """uint8 [T, 3, H, W] as an array [T, scale * H, scale * W, 3]; every pixel becomes a square."""
    assert frames.dtype == torch.uint8 and frames.ndim == 4 and frames.shape[1] == 3, (
        frames.dtype,
        tuple(frames.shape),
    )
    pixels = frames.detach().cpu().permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(pixels.repeat(scale, 1).repeat(scale, 2))


def _even(pictures: np.ndarray) -> np.ndarray:
    """Sides made even by repeating the last row or column: yuv420p keeps one colour for two by two pixels."""
    height, width = pictures.shape[1:3]
    return np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _fraction(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


def _check_fps(fps: float) -> None:
    if not 0 < fps <= MOST_FPS:
        raise UserError(f"fps={fps}: must be above 0 and at most {MOST_FPS}; try 8")


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """``rows`` with the first one's keys as columns."""
    memory = io.StringIO()
    writer = csv.DictWriter(memory, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_bytes(path, memory.getvalue().encode())
