"""Videos of any two folders as a protocol's clips, for `digan evaluate --real DIR --fake DIR`: any model's videos.

A folder holds video files, or folders of pictures that are a video each, at any depth. Legend: T times, H, W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from digan.errors import UserError
from digan.seeding import generator_for
from pipelines.evaluation.embedding import EmbeddingTask, RealBlock, Span
from pipelines.video import decoder
from pipelines.video import frame_folder as frame_folders

VIDEOS = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp")
)
LISTED = 3  # refused videos that are named


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """A video of a folder: its ``name``, its ``frames``, its size."""

    path: Path
    name: str
    frames: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class FolderClip:
    """The clip of a video that begins at frame ``start``."""

    video: VideoFile
    start: int


class VideoFolder:
    """The videos below ``root``; ``option`` is what named it. What cannot be used is counted and named in ``notes``."""

    def __init__(self, root: Path, option: str, frames: int) -> None:
        self.root, self.option, self.frames = root, option, frames
        if not root.is_dir():
            raise UserError(
                f"{option} {root}: no such folder; give one with videos, or with a folder of pictures for each"
            )
        self.videos: list[VideoFile] = []
        short: list[str] = []
        rejected: list[str] = []
        for path in _candidates(root):
            name = path.relative_to(root).as_posix()
            try:
                container = (frame_folders.decode_folder(path) if path.is_dir() else decoder.decode(path)).container
            except decoder.VideoRejectedError as error:
                rejected.append(f"{name} {error}")
                continue
            if container.packets < frames:
                short.append(f"{name} has {container.packets}")
                continue
            found = VideoFile(
                path=path, name=name, frames=container.packets, width=container.width, height=container.height
            )
            self.videos.append(found)
        if not self.videos:
            why = (
                _named("are too short", short) + _named("cannot be read", rejected) or "it holds no videos or pictures"
            )
            raise UserError(f"{option} {root}: no clip of {frames} frames in it; {why.strip('; ')}")
        self._check_sizes()
        self.notes = [
            f"{option}: {len(what)} videos {said} ({', '.join(what[:LISTED])}{', ...' if len(what) > LISTED else ''})"
            for said, what in ((f"have fewer than {frames} frames", short), ("cannot be read", rejected))
            if what
        ]

    def _check_sizes(self) -> None:
        first = self.videos[0]
        for other in self.videos:
            if (other.width, other.height) != (first.width, first.height):
                raise UserError(
                    f"{self.option} {self.root}: videos of two sizes: {first.name} is {first.width}x{first.height},"
                    f" {other.name} {other.width}x{other.height}; bring all to one size, since scaling shows in the figure"
                )

    def windows(self, *, choice: str, count: int, seed: int) -> list[FolderClip]:
        """``count`` clips in the protocol's order: one random clip a video, or uniform over all windows, none twice."""
        if choice == "videos":
            order = torch.randperm(len(self.videos), generator=generator_for(seed, "videos")).tolist()
            return [self._random_window(self.videos[place], seed) for place in order[:count]]
        ends = np.cumsum([one.frames - self.frames + 1 for one in self.videos])
        order = torch.randperm(int(ends[-1]), generator=generator_for(seed, "windows"))[:count].tolist()
        found = []
        for place in order:
            number = int(np.searchsorted(ends, place, side="right"))
            found.append(FolderClip(video=self.videos[number], start=int(place - (ends[number - 1] if number else 0))))
        return found

    def _random_window(self, one: VideoFile, seed: int) -> FolderClip:
        draw = generator_for(seed, "window", one.name)
        return FolderClip(video=one, start=int(torch.randint(one.frames - self.frames + 1, (1,), generator=draw)))

    def digest(self) -> str:
        """SHA-256 over the names and bytes of all videos that are used."""
        total = hashlib.sha256()
        for one in sorted(self.videos, key=lambda one: one.name):
            total.update(f"{one.name}\n".encode())
            files = (
                [Path(entry.path) for entry in frame_folders.pictures_in(one.path)] if one.path.is_dir() else [one.path]
            )
            for file in files:
                with file.open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()

    def works(self, windows: list[FolderClip], spans: list[Span], batch_size: int) -> Iterator[EmbeddingTask]:
        """The works of these chunks; a chunk's clips are read when it is its turn."""
        for number, start, count in spans:
            chosen = windows[start : start + count]
            stacked = torch.stack([read_window(window, self.frames, f"{self.option} {self.root}") for window in chosen])
            names = tuple(f"{window.video.name}@{window.start}" for window in chosen)
            yield EmbeddingTask(number=number, make=RealBlock(videos=stacked, names=names, batch_size=batch_size))


def read_window(window: FolderClip, frames: int, place: str) -> torch.Tensor:
    """The clip, uint8 [T, 3, H, W]."""
    path = window.video.path
    try:
        if path.is_dir():
            found = list(islice(frame_folders.decode_folder(path).frames, window.start, window.start + frames))
        else:
            try:
                found = list(islice(decoder.decode(path).frames, window.start, window.start + frames))
            except decoder.DecordFailedError as error:
                again = decoder.decode(path, without_decord=str(error))
                found = list(islice(again.frames, window.start, window.start + frames))
    except decoder.VideoRejectedError as error:
        raise UserError(f"{place}: {window.video.name} {error}; take it out of the folder") from error
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def _candidates(root: Path) -> Iterator[Path]:
    """Video files, and folders with pictures, in the order of their names; hidden ones are passed over."""
    for path in sorted(root.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        if (path.is_file() and path.suffix.lower() in VIDEOS) or (
            path.is_dir() and any(frame_folders.is_picture(child.name) for child in path.iterdir())
        ):
            yield path


def _named(what: str, names: list[str]) -> str:
    return f"{len(names)} {what} (first: {names[0]}); " if names else ""
