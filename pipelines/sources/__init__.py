"""Where raw video comes from: one file per raw data set, chosen by ``source.name``.

A source is a function ``SourceConfig -> list[RawVideo]`` that looks at names only; nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from digan.errors import UserError

SOURCES = ("toy", "folder")  # each a module of this room with a function ``videos(config)``


@dataclass(frozen=True, kw_only=True)
class RawVideo:
    """A file still to be decoded: ``name`` is stable and unique in its source ('/' between folders), ``category`` its
    class or ``None``.
    """

    name: str
    path: Path
    category: str | None


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The section ``source`` of params.yaml."""

    name: str
    path: str
    classes: bool
    toy_videos: int
    toy_seed: int

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise UserError(f"source.name={self.name}: no such source; one of {', '.join(SOURCES)}")
        if self.name == "folder" and not self.path:
            raise UserError("source.path is empty: the source 'folder' needs the path of a folder of videos")
        if not 2 <= self.toy_videos <= 1_000_000:
            raise UserError(f"source.toy_videos={self.toy_videos}: must be from 2 to 1000000; try 320")
        if self.toy_seed < 0:
            raise UserError(f"source.toy_seed={self.toy_seed}: must not be negative; try 0")


def open_source(config: SourceConfig) -> list[RawVideo]:
    """The raw videos of the configured source, sorted by name; ``UserError`` where there are none."""
    videos: Callable[[SourceConfig], list[RawVideo]] = import_module(f"{__name__}.{config.name}").videos
    return sorted(videos(config), key=lambda video: video.name)
