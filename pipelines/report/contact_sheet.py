"""Pictures of videos for people: labelled rows of frames, and tiles of videos that play side by side.

Legend: B videos, T times, H, W pixels; videos are uint8 [B, T, 3, H, W].
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from digan.atomic import write_bytes

SEEN = 96  # pixels a frame should have at least to be seen well
INK, PAPER = (40, 44, 52), (255, 255, 255)


def scale_for(resolution: int) -> int:
    """Whole factor that brings frames to about ``SEEN`` pixels or more."""
    return max(1, round(SEEN / resolution))


def frame_rows(sections: Sequence[tuple[str, torch.Tensor]], *, columns: int = 8, gap: int = 2) -> Image.Image:
    """One row a video and ``columns`` evenly spread frames of it, under a heading for each section."""
    sample = sections[0][1]
    columns, scale = min(columns, sample.shape[1]), scale_for(sample.shape[-1])
    width, height = scale * sample.shape[-1] + gap, scale * sample.shape[-2] + gap
    heading, margin = 34, 10
    rows = sum(len(videos) for _, videos in sections)
    size = (2 * margin + columns * width - gap, 2 * margin + rows * height + len(sections) * heading - gap)
    page = Image.new("RGB", size, PAPER)
    top = margin
    for title, videos in sections:
        ImageDraw.Draw(page).text((margin, top + 6), title, fill=INK, font=ImageFont.load_default(size=18))
        top += heading
        for video in videos:
            _paste(page, video, columns, scale, gap, (margin, top))
            top += height
    return page


def named_rows(names: Sequence[str], videos: torch.Tensor, *, columns: int = 5, blocks: int = 2) -> Image.Image:
    """One named row a video and ``columns`` evenly spread frames of it, the rows in ``blocks`` side by side."""
    columns, blocks, gap, margin = min(columns, videos.shape[1]), min(blocks, len(names)), 2, 10
    scale = max(1, scale_for(videos.shape[-1]) * 2 // 3)
    width, height = scale * videos.shape[-1] + gap, scale * videos.shape[-2] + gap
    font = ImageFont.load_default(size=14)
    words = [name.replace("_", " ") for name in names]
    label = 12 + max(int(font.getlength(text)) for text in words)
    rows = -(-len(names) // blocks)
    block = label + columns * width + margin
    page = Image.new("RGB", (margin + blocks * block, 2 * margin + rows * height - gap), PAPER)
    for number, video in enumerate(videos):
        left, top = margin + number // rows * block, margin + number % rows * height
        middle = (left, top + (height - gap) // 2)
        ImageDraw.Draw(page).text(middle, words[number], fill=INK, font=font, anchor="lm")
        _paste(page, video, columns, scale, gap, (left + label, top))
    return page


def _paste(page: Image.Image, video: torch.Tensor, columns: int, scale: int, gap: int, corner: tuple[int, int]) -> None:
    """Put ``columns`` evenly spread frames of a video, enlarged, side by side onto the page."""
    times = np.linspace(0, len(video) - 1, columns).round().astype(int)
    for column, frame in enumerate(video[times].permute(0, 2, 3, 1).cpu().numpy()):
        picture = Image.fromarray(np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1))
        page.paste(picture, (corner[0] + column * (picture.width + gap), corner[1]))


def save_png(path: Path, page: Image.Image) -> Path:
    """Write ``page`` whole or not at all."""
    memory = io.BytesIO()
    page.save(memory, "png", optimize=True)
    return write_bytes(path, memory.getvalue())


def tiles(videos: torch.Tensor, *, columns: int, gap: int = 1) -> torch.Tensor:
    """Videos side by side, ``columns`` in a row, white between them -> uint8 [T, 3, H', W']."""
    b, t, c, h, w = videos.shape
    columns = min(columns, b)
    rows = -(-b // columns)
    page = torch.full((t, c, rows * (h + gap) - gap, columns * (w + gap) - gap), 255, dtype=torch.uint8)
    for i in range(b):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        page[:, :, top : top + h, left : left + w] = videos[i]
    return page
