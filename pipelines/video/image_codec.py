"""Single pictures to bytes and back: png and webp are lossless, jpeg is 4:4:4 at a set quality."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import simplejpeg
from PIL import Image

SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}
JPEG = b"\xff\xd8"  # first bytes of a file
FORMATS = ("PNG", "WEBP", "JPEG")
WEBP_EFFORT = 4  # 0 to 6; higher ones save some percent of the size and take several times as long


def encode(frame_hwc: np.ndarray, encoding: str, quality: int) -> bytes:
    """Encode uint8 [H, W, 3]; equal pictures give equal bytes."""
    if encoding == "jpeg":
        frame_hwc = np.ascontiguousarray(frame_hwc)
        return simplejpeg.encode_jpeg(frame_hwc, quality=quality, colorsubsampling="444", fastdct=False)
    options = {"lossless": True, "quality": 0, "method": WEBP_EFFORT} if encoding == "webp" else {}
    return file_of(Image.fromarray(frame_hwc), encoding, **options)


def file_of(image: Image.Image, encoding: str, **options: object) -> bytes:
    """Return the content of a file with the image; the options are Pillow's for the encoding."""
    stream = io.BytesIO()
    image.save(stream, encoding, **options)
    return stream.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Decode a picture to uint8 [H, W, 3]. Errors: ``ValueError``."""
    if data.startswith(JPEG):  # three times as fast as Pillow and built on the same library, so pixels are equal
        return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a picture: {error}") from error


def stack(pictures: Iterable[bytes], resolution: int) -> np.ndarray:
    """Decode square pictures of ``resolution`` pixels into uint8 [N, R, R, 3]. Errors: ``ValueError``."""
    decoded = [decode(data) for data in pictures]
    if any(picture.shape != (resolution, resolution, 3) for picture in decoded):
        raise ValueError("a picture of another size")
    return np.stack(decoded)
