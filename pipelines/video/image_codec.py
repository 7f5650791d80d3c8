"""Single pictures to bytes and back: png and webp are lossless, jpeg is 4:4:4 at a set quality."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import simplejpeg
from PIL import Image

SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}
LOSSLESS = frozenset(("png", "webp"))
FORMATS = ("PNG", "WEBP", "JPEG")
WEBP_EFFORT = 4  # of 0 to 6: a higher one saves some percent of the size and takes several times as long


def encode(frame_hwc: np.ndarray, encoding: str, quality: int) -> bytes:
    """uint8 [H, W, 3] -> the bytes of one picture; equal pictures give equal bytes."""
    if encoding == "jpeg":
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame_hwc), quality=quality, colorsubsampling="444", fastdct=False
        )
    stream = io.BytesIO()
    image = Image.fromarray(frame_hwc)
    if encoding == "png":
        image.save(stream, "PNG")
    else:
        image.save(stream, "WEBP", lossless=True, quality=0, method=WEBP_EFFORT)
    return stream.getvalue()


def decode(data: bytes) -> np.ndarray:
    """The bytes of a picture -> uint8 [H, W, 3]; ``ValueError`` if they are not one."""
    if data[:2] == b"\xff\xd8":  # three times as fast as Pillow and built on the same library, so pixels are equal
        return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            array = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a picture: {error}") from error
    return array


def decode_into(data: bytes, target_hwc: np.ndarray) -> None:
    """Decode a picture into a contiguous uint8 array of its size; ``ValueError`` if it is not a picture of that
    size."""
    if data[:2] == b"\xff\xd8":
        if simplejpeg.decode_jpeg_header(data)[:2] != target_hwc.shape[:2]:
            raise ValueError("a picture of another size")
        simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False, buffer=target_hwc)
        return
    picture = decode(data)
    if picture.shape != target_hwc.shape:
        raise ValueError("a picture of another size")
    target_hwc[:] = picture


def stack(pictures: Sequence[bytes], resolution: int) -> np.ndarray:
    """Decode square pictures of ``resolution`` pixels into uint8 [N, R, R, 3]; ``ValueError`` if one is not."""
    found = np.empty((len(pictures), resolution, resolution, 3), np.uint8)
    for data, target in zip(pictures, found, strict=True):
        decode_into(data, target)
    return found
