"""The size at which the frames of two folders are compared: `digan evaluate --size`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from digan.errors import UserError

MIN_SIDE, MAX_SIDE = 16, 4096


@dataclass(frozen=True, kw_only=True)
class FrameSize:
    """Width and height in pixels; as text ``128x96``."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> FrameSize:
        """Parse ``128x96``, or ``64`` for a square. Errors: ``UserError``."""
        match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text)
        width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            raise UserError(
                f"--size {text}: must be a number of pixels or WIDTHxHEIGHT, from {MIN_SIDE} to {MAX_SIDE};"
                " try 64 or 128x96"
            )
        return cls(width=width, height=height)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def fit(self, frames_thwc: np.ndarray) -> np.ndarray:
        """Crop to this shape at the center and resize, uint8 [T, H, W, 3]: bilinear, antialiased, as ingest does."""
        import torch
        from torch.nn.functional import interpolate

        height, width = frames_thwc.shape[1:3]
        rows = max(1, min(height, round(width * self.height / self.width)))
        columns = max(1, min(width, round(height * self.width / self.height)))
        top, left = (height - rows) // 2, (width - columns) // 2
        cropped = np.ascontiguousarray(frames_thwc[:, top : top + rows, left : left + columns])
        if (rows, columns) == (self.height, self.width):
            return cropped
        frames_tchw = torch.from_numpy(cropped).permute(0, 3, 1, 2)
        resized = interpolate(frames_tchw, size=(self.height, self.width), mode="bilinear", antialias=True)
        return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())
