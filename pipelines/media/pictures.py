"""Single pictures to bytes and back: png is lossless, jpeg is 4:4:4 at a set quality."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SUFFIX = {"png": "png", "jpeg": "jpg"}


def encode(frame_hwc: np.ndarray, encoding: str, quality: int) -> bytes:
    """uint8 [H, W, 3] -> the bytes of one picture; equal pictures give equal bytes."""
    stream = io.BytesIO()
    image = Image.fromarray(frame_hwc)
    if encoding == "png":
        image.save(stream, "PNG")
    else:
        image.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def decode(data: bytes) -> np.ndarray:
    """The bytes of a picture -> uint8 [H, W, 3]; ``ValueError`` where they are none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            array = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a picture: {error}") from error
    return array


def stack(pictures: Sequence[bytes]) -> np.ndarray:
    """Decode pictures of one size into uint8 [N, H, W, 3]."""
    return np.stack([decode(data) for data in pictures])
