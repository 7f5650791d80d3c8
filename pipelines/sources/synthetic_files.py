"""What built-in data sets share: their keys, and their files.

A file is a numbered H.264 video beside a JSON file with what it shows; files are made once and kept.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from digan import atomic
from digan.errors import UserError
from pipelines.sources.base import RawSource

log = logging.getLogger(__name__)

FPS = 12
CRF = "12"
PROGRESS_SECONDS = 5.0

Label = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BuiltInSource(RawSource):
    """A built-in data set: ``videos`` files of the classes in ``classes``, which ``seed`` decides."""

    makes_videos = True
    videos: int
    classes: str
    seed: int

    def __post_init__(self) -> None:
        if not 2 <= self.videos <= 1_000_000:
            raise UserError(f"source.{self.name}.videos={self.videos}: must be from 2 to 1000000; try 320")
        if self.seed < 0:
            raise UserError(f"source.{self.name}.seed={self.seed}: must not be negative; try 0")


def make_files(
    folder: Path, wanted: dict[str, Any], draw: Callable[[int], Label], render: Callable[[Label], np.ndarray]
) -> dict[str, Label]:
    """Make the ``wanted["videos"]`` videos in ``folder``, all or none, unless they exist already; return the labels by name.

    ``wanted`` holds all that the files depend on, ``draw`` gives the label of a video by its number and ``render`` its
    frames, uint8 [T, S, S, 3].
    """
    names = [f"{number:06d}" for number in range(wanted["videos"])]
    index = folder / "index.json"
    found: dict[str, Any] = json.loads(index.read_text()) if index.is_file() else {"made": None}
    if found["made"] == wanted and all((folder / f"{name}.mp4").is_file() for name in names):
        labels: dict[str, Label] = found["labels"]
        return labels
    return _create(folder, wanted, {name: draw(number) for number, name in enumerate(names)}, render)


def _create(
    folder: Path, wanted: dict[str, Any], labels: dict[str, Label], render: Callable[[Label], np.ndarray]
) -> dict[str, Label]:
    """Write all files and their index, or none."""
    source = folder.parent.name
    log.info("%s: creating %d videos in %s", source, len(labels), folder)
    try:
        with atomic.replacing(folder) as part:
            part.mkdir()
            start = logged = time.monotonic()
            for number, (name, label) in enumerate(labels.items(), 1):
                write_video(part / f"{name}.mp4", render(label))
                (part / f"{name}.json").write_text(json.dumps(label, indent=1, sort_keys=True) + "\n")
                if (now := time.monotonic()) - logged > PROGRESS_SECONDS:
                    logged, rate = now, number / (now - start)
                    left = (len(labels) - number) / rate
                    log.info("%s: %d of %d, %.0f videos/s, %.0f s left", source, number, len(labels), rate, left)
            (part / "index.json").write_text(json.dumps({"made": wanted, "labels": labels}, sort_keys=True))
    except OSError as error:  # PyAV's own error, on a full disk, names no file
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return labels


def quantize(picture: np.ndarray) -> np.ndarray:
    """Round levels to uint8, halves up."""
    return np.clip(np.floor(picture + 0.5), 0, 255).astype(np.uint8)


def write_video(path: Path, video: np.ndarray) -> None:
    """Write uint8 [T, S, S, 3] as an H.264 mp4 that any player shows (yuv420p); equal pictures give equal bytes."""
    import av

    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = video.shape[2], video.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": CRF, "preset": "medium", "threads": "1", "flags": "+bitexact"}
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
