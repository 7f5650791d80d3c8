"""Decodes the videos of a folder in child processes: one that crashes or hangs its decoder costs one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.video import decoder, frame_folder
from pipelines.video.decoded import ContainerInfo, VideoRejectedError
from pipelines.video.isolation import IsolatedPool, ItemLost

FUNCTION = "pipelines.evaluation.folder_decoding:work"
PROCESSES = 2
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0  # the time limit for a video


@dataclass(frozen=True, kw_only=True)
class DecodeRequest:
    """The frames of a video to decode, from ``start``; with no ``frames`` only its container's information is asked for."""

    path: Path
    start: int = 0
    frames: int = 0

    @property
    def seconds(self) -> float:
        """The time limit."""
        return SECONDS + SECONDS_PER_MEGABYTE * self.path.stat().st_size / 1e6


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Why a video cannot be decoded."""

    reason: str


def work(request: DecodeRequest) -> ContainerInfo | np.ndarray | Unreadable:
    """Run in a child process: the frames, uint8 [T, H, W, 3], or the container's information."""
    try:
        path = request.path
        video = frame_folder.decode_folder(path) if path.is_dir() else decoder.decode(path)
        if not request.frames:
            return video.container
        return np.stack(list(islice(video.frames, request.start, request.start + request.frames)))
    except VideoRejectedError as error:
        return Unreadable(reason=str(error))


def decoded(requests: Sequence[DecodeRequest]) -> Iterator[Any]:
    """The results of ``work`` in the order of the requests; ``Unreadable``, too, where the process was lost."""
    with (
        IsolatedPool(FUNCTION, processes=max(1, min(PROCESSES, len(requests)))) as pool,
        closing(pool.map(requests, lambda request: request.seconds)) as results,
    ):
        for result in results:
            yield Unreadable(reason=f"cannot be decoded: {result.reason}") if isinstance(result, ItemLost) else result
