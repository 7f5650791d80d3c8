"""The clips of any folder of videos, chosen by a protocol, for `digan evaluate --real DIR --fake DIR`.

A folder holds video files, or folders of pictures that are a video each, at any depth. Legend: T times, H, W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from digan.errors import UserError, listed, printable
from digan.seeding import generator_for
from digan.types import Clip
from pipelines.evaluation.folder_decoding import DecodeRequest, Unreadable, decoded
from pipelines.evaluation.frame_size import FrameSize
from pipelines.video import decoder
from pipelines.video import frame_folder as frame_folders

UNNAMED = "has a name that is not UTF-8; rename it"
LISTED = 3  # rejected videos that a note names


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """A video of a folder, its name there, and its number of frames."""

    path: Path
    name: str
    frames: int
    size: str
    fps: float | None


@dataclass(frozen=True, kw_only=True)
class FolderClip:
    """The clip of a video that begins at frame ``start``."""

    video: VideoFile
    start: int

    @property
    def name(self) -> str:
        """Its name, VIDEO@FRAME."""
        return f"{self.video.name}@{self.start}"


class VideoFolder:
    """The videos of at least ``frames`` frames below ``root``, which the command line's ``option`` names.

    Clips are brought to ``size``, if it is given; without it all videos must have one size. ``notes`` counts and names the
    videos that cannot be used, and says how others were resized.
    """

    def __init__(self, root: Path, option: str, frames: int, size: FrameSize | None = None) -> None:
        self.root, self.option, self.frames, self._size = root, option, frames, size
        if not root.is_dir():
            raise UserError(
                f"{option} {root}: no such folder; give one with videos, or with a folder of pictures for each"
            )
        self.videos: list[VideoFile] = []
        short: list[str] = []
        paths, rejected = _candidates(root)
        for path, container in zip(paths, decoded([DecodeRequest(path=path) for path in paths]), strict=True):
            name = path.relative_to(root).as_posix()
            if isinstance(container, Unreadable):
                rejected.append(f"{name} {printable(container.reason)}")
                continue
            if container.packets < frames:
                short.append(f"{name} has {container.packets}")
                continue
            shown = f"{container.width}x{container.height}"
            self.videos.append(VideoFile(path=path, name=name, frames=container.packets, size=shown, fps=container.fps))
        unusable = [
            ("are too short", f"have fewer than {frames} frames", short),
            ("cannot be read", "cannot be read", rejected),
        ]
        if not self.videos:
            reasons = [f"{len(names)} {what} (first: {names[0]})" for what, _, names in unusable if names]
            why = "; ".join(reasons) or "it holds no videos or pictures"
            raise UserError(f"{option} {root}: no clip of {frames} frames in it; {why}")
        self._check_sizes()
        self.notes = [
            f"{option}: {len(names)} videos {what} ({', '.join(names[:LISTED] + ['...'] * (len(names) > LISTED))})"
            for _, what, names in unusable
            if names
        ]
        if others := {video.size: None for video in self.videos if size and video.size != str(size)}:
            self.notes.append(f"{option}: videos of {listed(others)} are cropped at the center and resized to {size}")

    def _check_sizes(self) -> None:
        first = self.videos[0]
        for other in self.videos:
            if self._size is None and other.size != first.size:
                raise UserError(
                    f"{self.option} {self.root}: videos of two sizes: {first.name} is {first.size}, {other.name} {other.size};"
                    f" bring all to one size, since scaling changes the metric, or set --size {first.size}"
                )

    @property
    def size(self) -> str:
        """The size of its clips."""
        return str(self._size or self.videos[0].size)

    @property
    def fps(self) -> float | None:
        """The median frame rate of its videos; ``None`` if it is unknown, as of pictures."""
        rates = [video.fps for video in self.videos if video.fps]
        return float(np.median(rates)) if rates else None

    def windows(self, *, choice: str, count: int, seed: int) -> list[FolderClip]:
        """``count`` clips in the protocol's order: one random clip a video, or uniform over all windows, none twice."""
        if choice == "videos":
            order = torch.randperm(len(self.videos), generator=generator_for(seed, "videos")).tolist()
            return [self._random_window(self.videos[index], seed) for index in order[:count]]
        ends = np.cumsum([video.frames - self.frames + 1 for video in self.videos])
        order = torch.randperm(int(ends[-1]), generator=generator_for(seed, "windows"))[:count].tolist()
        numbers = np.searchsorted(ends, order, side="right").tolist()
        starts = [0, *ends.tolist()]
        return [
            FolderClip(video=self.videos[number], start=position - starts[number])
            for position, number in zip(order, numbers, strict=True)
        ]

    def _random_window(self, video: VideoFile, seed: int) -> FolderClip:
        random = generator_for(seed, "window", video.name)
        return FolderClip(video=video, start=int(torch.randint(video.frames - self.frames + 1, (1,), generator=random)))

    def digest(self) -> str:
        """SHA-256 over the names and bytes of all usable videos."""
        total = hashlib.sha256()
        for video in sorted(self.videos, key=lambda video: video.name):
            total.update(f"{video.name}\n".encode())
            pictures = frame_folders.pictures_in(video.path) if video.path.is_dir() else [video.path]
            for file in pictures:
                with Path(file).open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()

    def read(self, windows: Iterable[FolderClip]) -> Iterator[Clip]:
        """The clips, uint8 [T, 3, H, W], decoded a few ahead. Errors: ``UserError`` if one cannot be read."""
        chosen = list(windows)
        requests = [DecodeRequest(path=each.video.path, start=each.start, frames=self.frames) for each in chosen]
        for window, frames in zip(chosen, decoded(requests), strict=True):
            if isinstance(frames, Unreadable):
                name = window.video.name
                raise UserError(f"{self.option} {self.root}: {name} {frames.reason}; take it out of the folder")
            fitted = self._size.fit(frames) if self._size else frames
            yield Clip(frames=torch.from_numpy(fitted).permute(0, 3, 1, 2).contiguous(), label=None, name=window.name)


def _candidates(root: Path) -> tuple[list[Path], list[str]]:
    """Video files and folders with pictures, in the order of their names, and those whose name is not UTF-8, with the reason;
    hidden ones are skipped."""
    found: list[Path] = []
    unnamed: list[str] = []
    for path in sorted(root.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        if (path.is_file() and path.suffix.lower() in decoder.SUFFIXES) or (
            path.is_dir() and any(frame_folders.is_picture(child.name) for child in path.iterdir())
        ):
            name = path.relative_to(root).as_posix()
            if (shown := printable(name)) == name:
                found.append(path)
            else:
                unnamed.append(f"{shown} {UNNAMED}")
    return found, unnamed
