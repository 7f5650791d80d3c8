"""Contact sheets (rows of frames) and grids of videos. Videos are uint8 [B, T, 3, H, W]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from digan.atomic import write_bytes
from pipelines.video.image_codec import file_of
from pipelines.video.video_writer import enlarge, grid

MIN_FRAME_SIZE = 96  # pixels; smaller frames are enlarged
GAP, MARGIN = 2, 10  # pixels between frames and around the sheet
TEXT_COLOR, WHITE = (40, 44, 52), (255, 255, 255)


def scale_for(resolution: int, size: int = MIN_FRAME_SIZE) -> int:
    """Return the integer factor that enlarges frames to about ``size`` pixels or more."""
    return max(1, round(size / resolution))


def frame_rows(
    sections: Sequence[tuple[str, torch.Tensor]], *, columns: int = 8, size: int = MIN_FRAME_SIZE
) -> Image.Image:
    """Draw a row of at most ``columns`` evenly spaced frames for each video, with a heading above each (title, videos) section.

    Frames are enlarged to about ``size`` pixels.
    """
    drawn = [(title, _rows(videos, columns, scale_for(videos.shape[-1], size))) for title, videos in sections]
    font, heading = ImageFont.load_default(size=18), 34
    height = sum(heading + rows.height + GAP for _, rows in drawn) - GAP
    sheet, top = Image.new("RGB", (2 * MARGIN + drawn[0][1].width, 2 * MARGIN + height), WHITE), MARGIN
    for title, rows in drawn:
        ImageDraw.Draw(sheet).text((MARGIN, top + 6), title, fill=TEXT_COLOR, font=font)
        sheet.paste(rows, (MARGIN, top + heading))
        top += heading + rows.height + GAP
    return sheet


def named_rows(names: Sequence[str], videos: torch.Tensor) -> Image.Image:
    """Draw a row with a name and at most five evenly spaced frames for each video, the rows in two blocks side by side."""
    scale = max(1, scale_for(videos.shape[-1]) * 2 // 3)
    blocks = [_rows(part, 5, scale) for part in videos.split(-(-len(videos) // 2))]
    font, height = ImageFont.load_default(size=14), scale * videos.shape[-2] + GAP
    labels = [name.replace("_", " ") for name in names]
    label_width = 12 + max(int(font.getlength(label)) for label in labels)
    block_width = label_width + blocks[0].width + GAP + MARGIN
    sheet = Image.new("RGB", (MARGIN + len(blocks) * block_width, 2 * MARGIN + blocks[0].height), WHITE)
    for number, block in enumerate(blocks):
        sheet.paste(block, (MARGIN + number * block_width + label_width, MARGIN))
    rows_per_block = -(-len(labels) // len(blocks))
    for number, label in enumerate(labels):
        block_number, row = divmod(number, rows_per_block)
        middle = (MARGIN + block_number * block_width, MARGIN + row * height + (height - GAP) // 2)
        ImageDraw.Draw(sheet).text(middle, label, fill=TEXT_COLOR, font=font, anchor="lm")
    return sheet


def _rows(videos: torch.Tensor, columns: int, scale: int) -> Image.Image:
    """Draw a row of at most ``columns`` evenly spaced, enlarged frames for each video."""
    frames = videos.shape[1]
    times = np.linspace(0, frames - 1, min(columns, frames)).round().astype(int)
    return Image.fromarray(grid(enlarge(videos[:, times], scale), gap=GAP))


def save_png(path: Path, image: Image.Image) -> Path:
    """Write an image atomically."""
    return write_bytes(path, file_of(image, "png", optimize=True))


def tiles(videos: torch.Tensor, *, columns: int) -> torch.Tensor:
    """Arrange videos in a grid with ``columns`` per row and white lines between them -> uint8 [T, 3, H', W']."""
    columns = min(columns, len(videos))
    empty = torch.full_like(videos[:1], 255).expand(-len(videos) % columns, *videos.shape[1:])
    rows = torch.cat([videos, empty]).unflatten(0, (-1, columns)).movedim(2, 0)  # [T, rows, columns, 3, H, W]
    return torch.from_numpy(grid(enlarge(rows, 1), gap=1)).movedim(-1, 1)
