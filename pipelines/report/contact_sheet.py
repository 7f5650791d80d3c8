"""Contact sheets (rows of frames) and grids of videos. Videos are uint8 [B, T, 3, H, W]."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from digan.atomic import write_bytes

MIN_FRAME_SIZE = 96  # pixels; smaller frames are enlarged
GAP, MARGIN = 2, 10  # pixels between frames and around the sheet
TEXT_COLOR, WHITE = (40, 44, 52), (255, 255, 255)


def scale_for(resolution: int) -> int:
    """Return the integer factor that enlarges frames to about ``MIN_FRAME_SIZE`` pixels or more."""
    return max(1, round(MIN_FRAME_SIZE / resolution))


def frame_rows(sections: Sequence[tuple[str, torch.Tensor]]) -> Image.Image:
    """Draw a row of at most eight evenly spaced frames for each video, with a heading above each (title, videos) section."""
    frames, _, frame_height, frame_width = sections[0][1].shape[1:]
    columns, scale, heading = min(8, frames), scale_for(frame_width), 34
    width, height = scale * frame_width + GAP, scale * frame_height + GAP
    rows = sum(len(videos) for _, videos in sections)
    size = (2 * MARGIN + columns * width - GAP, 2 * MARGIN + rows * height + len(sections) * heading - GAP)
    sheet, top = Image.new("RGB", size, WHITE), MARGIN
    for title, videos in sections:
        font = ImageFont.load_default(size=18)
        ImageDraw.Draw(sheet).text((MARGIN, top + 6), title, fill=TEXT_COLOR, font=font)
        top += heading
        for video in videos:
            _paste(sheet, video, columns, scale, (MARGIN, top))
            top += height
    return sheet


def named_rows(names: Sequence[str], videos: torch.Tensor) -> Image.Image:
    """Draw a row with a name and at most five evenly spaced frames for each video, the rows in two blocks side by side."""
    columns, blocks = min(5, videos.shape[1]), min(2, len(names))
    scale = max(1, scale_for(videos.shape[-1]) * 2 // 3)
    width, height = scale * videos.shape[-1] + GAP, scale * videos.shape[-2] + GAP
    font = ImageFont.load_default(size=14)
    labels = [name.replace("_", " ") for name in names]
    label_width = 12 + max(int(font.getlength(label)) for label in labels)
    rows = -(-len(names) // blocks)
    block_width = label_width + columns * width + MARGIN
    sheet = Image.new("RGB", (MARGIN + blocks * block_width, 2 * MARGIN + rows * height - GAP), WHITE)
    for number, (label, video) in enumerate(zip(labels, videos, strict=True)):
        left, top = MARGIN + number // rows * block_width, MARGIN + number % rows * height
        middle = (left, top + (height - GAP) // 2)
        ImageDraw.Draw(sheet).text(middle, label, fill=TEXT_COLOR, font=font, anchor="lm")
        _paste(sheet, video, columns, scale, (left + label_width, top))
    return sheet


def _paste(sheet: Image.Image, video: torch.Tensor, columns: int, scale: int, corner: tuple[int, int]) -> None:
    """Paste ``columns`` evenly spaced, enlarged frames of a video side by side."""
    times = np.linspace(0, len(video) - 1, columns).round().astype(int)
    for column, frame in enumerate(video[times].permute(0, 2, 3, 1).cpu().numpy()):
        image = Image.fromarray(np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1))
        sheet.paste(image, (corner[0] + column * (image.width + GAP), corner[1]))


def save_png(path: Path, image: Image.Image) -> Path:
    """Write an image atomically."""
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return write_bytes(path, stream.getvalue())


def tiles(videos: torch.Tensor, *, columns: int) -> torch.Tensor:
    """Arrange videos in a grid with ``columns`` per row and white lines between them -> uint8 [T, 3, H', W']."""
    count, frames, channels, height, width = videos.shape
    columns = min(columns, count)
    size = (-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1)
    grid = torch.full((frames, channels, *size), 255, dtype=torch.uint8)
    for number, video in enumerate(videos):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        grid[:, :, top : top + height, left : left + width] = video
    return grid
