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
    columns = min(columns, sample.shape[1])
    scale = scale_for(sample.shape[-1])
    height, width = scale * sample.shape[-2], scale * sample.shape[-1]
    font = ImageFont.load_default(size=18)
    heading, margin = 34, 10
    rows = sum(len(videos) for _, videos in sections)
    size = (
        2 * margin + columns * (width + gap) - gap,
        2 * margin + rows * (height + gap) + len(sections) * heading - gap,
    )
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    top = margin
    for title, videos in sections:
        draw.text((margin, top + 6), title, fill=INK, font=font)
        top += heading
        times = np.linspace(0, videos.shape[1] - 1, columns).round().astype(int)
        for video in videos[:, times].permute(0, 1, 3, 4, 2).cpu().numpy():
            for column, frame in enumerate(video):
                picture = Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST)
                page.paste(picture, (margin + column * (width + gap), top))
            top += height + gap
    return page


def named_rows(names: Sequence[str], videos: torch.Tensor, *, columns: int = 5, blocks: int = 2) -> Image.Image:
    """One named row a video and ``columns`` evenly spread frames of it, the rows in ``blocks`` side by side."""
    columns, blocks, gap, margin = min(columns, videos.shape[1]), min(blocks, len(names)), 2, 10
    scale = max(1, scale_for(videos.shape[-1]) * 2 // 3)
    height, width = scale * videos.shape[-2], scale * videos.shape[-1]
    font = ImageFont.load_default(size=14)
    words = [name.replace("_", " ") for name in names]
    label = 12 + max(int(font.getlength(text)) for text in words)
    rows = -(-len(names) // blocks)
    block = label + columns * (width + gap) + margin
    page = Image.new("RGB", (margin + blocks * block, 2 * margin + rows * (height + gap) - gap), PAPER)
    draw = ImageDraw.Draw(page)
    times = np.linspace(0, videos.shape[1] - 1, columns).round().astype(int)
    for number, frames in enumerate(videos[:, times].permute(0, 1, 3, 4, 2).cpu().numpy()):
        left, top = margin + number // rows * block, margin + number % rows * (height + gap)
        draw.text((left, top + height // 2), words[number], fill=INK, font=font, anchor="lm")
        for column, frame in enumerate(frames):
            picture = Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST)
            page.paste(picture, (left + label + column * (width + gap), top))
    return page


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
