"""Videos stored as pictures: a folder of them, or one long picture with all frames side by side.

Frames are in the order of the numbers in their names: frame_2 before frame_10. Gaps in the numbers do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from pipelines.video.decoded import ContainerInfo, Decoded, VideoRejectedError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg"))
MODES = frozenset(("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr"))  # eight bits a channel or fewer
MOST_PIXELS = 2**28  # of a strip: 4096 frames of 256x256, 0.8 GB decoded


def is_picture(name: str) -> bool:
    """Whether a file is a frame by its name; hidden files are not."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def numeric(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts names by the numbers in them."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def pictures_in(folder: Path) -> list[Path]:
    """Return the frames of a folder, in their order."""
    return sorted((path for path in folder.iterdir() if is_picture(path.name)), key=lambda path: numeric(path.name))


def bytes_and_time(folder: Path) -> tuple[int, int, int]:
    """Return the number of pictures in a folder, their total size in bytes, and the newest modification time in ns."""
    stats = [path.stat() for path in pictures_in(folder)]
    return len(stats), sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def decode_folder(path: Path) -> Decoded:
    """Decode the frames of a folder, one by one.

    Errors: ``VideoRejectedError``, here or while iterating, if there are no frames, if one cannot be read or differs in size
    from the first, or if two differ in their suffixes only.
    """
    if not path.is_dir():
        raise VideoRejectedError("is not a folder")
    pictures = pictures_in(path)
    if not pictures:
        raise VideoRejectedError("holds no png or jpg pictures")
    stems: dict[str, str] = {}
    for picture in pictures:
        if (other := stems.setdefault(picture.stem, picture.name)) != picture.name:
            raise VideoRejectedError(f"holds a frame twice: {other} and {picture.name}")
    first = _read(pictures[0])
    return _decoded(_folder_frames(pictures, first), len(pictures), pictures[0].name, first)


def decode_strip(path: Path) -> Decoded:
    """Decode the square frames of one long picture, from left to right or top to bottom. Errors: ``VideoRejectedError``."""
    if not path.is_file():
        raise VideoRejectedError("is not a file")
    picture = _read(path)
    height, width = picture.shape[:2]
    side, length = min(height, width), max(height, width)
    if length % side:
        raise VideoRejectedError(f"is {width}x{height} pixels: the long side must be a multiple of the short one")
    cuts = np.split(picture, length // side, axis=int(width > height))
    return _decoded(iter(cuts), len(cuts), path.name, cuts[0])


def _decoded(frames: Iterator[np.ndarray], count: int, name: str, first: np.ndarray) -> Decoded:
    height, width = first.shape[:2]
    codec = "png" if name.lower().endswith(".png") else "jpeg"
    container = ContainerInfo(packets=count, codec=codec, width=width, height=height, fps=None)
    return Decoded(frames=frames, container=container, decoder="pillow", note="")


def _folder_frames(pictures: list[Path], first: np.ndarray) -> Iterator[np.ndarray]:
    yield first
    for picture in pictures[1:]:
        frame = _read(picture)
        if frame.shape != first.shape:
            sizes = " and ".join(f"{array.shape[1]}x{array.shape[0]}" for array in (first, frame))
            raise VideoRejectedError(f"has frames of two sizes: {pictures[0].name} and {picture.name} are {sizes}")
        yield frame


def _read(path: Path) -> np.ndarray:
    """Return a picture as uint8 [H, W, 3], rotated as its EXIF data says."""
    try:
        with _opened(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise VideoRejectedError(f"{path.name}: is too large, {image.width}x{image.height} pixels")
            if image.mode not in MODES:
                raise VideoRejectedError(f"{path.name}: has more than 8 bits a channel ({image.mode}); convert it")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except VideoRejectedError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise VideoRejectedError(f"{path.name}: cannot be read: {reason[:120]}") from error


def _opened(path: Path) -> ImageFile.ImageFile:
    """Open a picture by the class of its format: ``Image.open`` rejects more than 179 million pixels, as strips may have."""
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise VideoRejectedError(f"{path.name}: the file is empty")
    if start == b"\x89PNG\r\n\x1a\n":
        return PngImageFile(path)
    if start.startswith(b"\xff\xd8\xff"):
        return JpegImageFile(path)
    raise VideoRejectedError(f"{path.name}: is not a png or jpg picture")
