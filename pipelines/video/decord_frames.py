"""Frames by decord (optional): only for files that decord reads as a player does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.video.decoded import ContainerInfo, DecordFailedError, short_text

CHUNK, CHUNK_BYTES = 32, 2**25  # frames per call of decord, and their total size at most
WRONG_WIDTHS = frozenset((16, 24, 48, 72))  # 'The size must exactly match': decord 0.6.0 fails on these


def open_reader(path: Path, container: ContainerInfo) -> tuple[Any, str]:
    """decord's reader if it finds all frames, else ``None`` and the reason to use PyAV."""
    if container.not_for_decord:
        return None, container.not_for_decord
    if {container.width, container.height} & WRONG_WIDTHS:
        return None, f"decord fails on this width: {container.width}x{container.height}"
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != container.packets:
            return None, f"decord finds {len(reader)} of {container.packets} frames"
    except ModuleNotFoundError:
        return None, "decord is not installed"
    except Exception as error:  # decord raises RuntimeError and DECORDError, which share no other base
        return None, f"decord: {short_text(error)}"
    return reader, ""


def read(reader: Any, container: ContainerInfo) -> Iterator[np.ndarray]:
    """The frames in order; ``DecordFailedError`` where decord fails."""
    from torch.utils.dlpack import from_dlpack

    try:
        size = max(1, min(CHUNK, CHUNK_BYTES // max(1, 3 * container.width * container.height)))
        for start in range(0, len(reader), size):
            batch = reader.get_batch(range(start, min(start + size, len(reader))))
            yield from from_dlpack(batch.to_dlpack()).numpy()  # its own memory, not a copy
    except Exception as error:
        raise DecordFailedError(f"decord: {short_text(error)}") from error
