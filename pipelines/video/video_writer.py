"""Videos and pictures for people: mp4, gif and png. Written atomically.

Equal input gives equal bytes with the same versions of PyAV and Pillow: x264 runs in one thread, since its output depends
on the number of threads.

Legend: B videos, T times, H, W pixels. Videos are uint8 torch tensors, channels before rows, RGB.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from digan.atomic import write_bytes
from pipelines.video.image_codec import file_of


def write_video(path: Path, frames: torch.Tensor, fps: float = 8, *, scale: int = 1) -> Path:
    """Write uint8 [T, 3, H, W] as H.264 (yuv420p, which every browser plays) in mp4.

    ``scale`` enlarges by whole pixels. Odd sides are padded by one row or column.
    """
    import av  # half a second of libraries that only this function needs

    pictures = enlarge(frames, scale)
    height, width = pictures.shape[1:3]
    # yuv420p stores one color for two by two pixels
    pictures = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        stream.options = {"crf": "14", "preset": "medium", "threads": "1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return write_bytes(path, memory.getvalue())


def write_gif(path: Path, frames: torch.Tensor, fps: float = 8, *, scale: int = 1) -> Path:
    """Write uint8 [T, 3, H, W] as a looping gif; all frames share one palette, so that plain backgrounds do not flicker."""
    pictures = enlarge(frames, scale)
    everything = Image.fromarray(pictures.reshape(-1, *pictures.shape[2:]))
    palette = everything.quantize(colors=256, method=Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    options = {"save_all": True, "append_images": images[1:], "duration": round(1000 / fps), "loop": 0}
    return write_bytes(path, file_of(images[0], "gif", **options))


def write_contact_sheet(path: Path, videos: torch.Tensor, scale: int = 1) -> Path:
    """Write uint8 [B, T, 3, H, W] as a png with a row per video and a column per time, ``scale`` white pixels apart."""
    return write_bytes(path, file_of(Image.fromarray(grid(enlarge(videos, scale), gap=scale)), "png"))


def grid(pictures: np.ndarray, *, gap: int) -> np.ndarray:
    """Arrange uint8 pictures [..., rows, columns, H, W, 3], ``gap`` white pixels apart -> [..., H', W', 3]."""
    padded = np.pad(pictures, [(0, 0)] * (pictures.ndim - 3) + [(0, gap), (0, gap), (0, 0)], constant_values=255)
    *outer, rows, columns, height, width, _ = padded.shape
    height, width = rows * height, columns * width
    return padded.swapaxes(-4, -3).reshape(*outer, height, width, 3)[..., : height - gap, : width - gap, :]


def enlarge(frames: torch.Tensor, scale: int) -> np.ndarray:
    """Turn uint8 [..., 3, H, W] into an array [..., scale * H, scale * W, 3]; every pixel becomes a square."""
    assert frames.dtype == torch.uint8 and frames.shape[-3] == 3, (frames.dtype, frames.shape)
    pixels = frames.detach().cpu().movedim(-3, -1).numpy()
    return np.ascontiguousarray(pixels.repeat(scale, -3).repeat(scale, -2))
