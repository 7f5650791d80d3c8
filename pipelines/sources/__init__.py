"""Where raw video comes from: one file per raw data set, chosen by ``source.name``.

A source is a function ``SourceConfig -> list[RawVideo]`` that looks at names and lists only; nothing is decoded here.
What several sources need lies in ``listing.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from digan.errors import UserError
from pipelines.media.raw import RawVideo

__all__ = ["SOURCES", "RawVideo", "SourceConfig", "open_source"]

SOURCES = ("toy", "folder", "frames", "ucf101", "sky_timelapse", "taichi_hd", "kinetics_food")
"""Each a module of this room with a function ``videos(config)``."""

NO_PATH = frozenset(("toy",))
NO_CLASSES = frozenset(("sky_timelapse", "taichi_hd"))
PARTS = ("train", "test", "both")
LAYOUTS = ("folders", "strips")


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The section ``source`` of params.yaml."""

    name: str
    path: str
    classes: bool
    only_classes: str
    split: str
    split_list: int
    labels: str
    layout: str
    max_refused: float
    toy_videos: int
    toy_classes: str
    toy_seed: int

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise UserError(f"source.name={self.name}: no such source; one of {', '.join(SOURCES)}")
        if self.name not in NO_PATH and not self.path:
            what = "a folder of videos" if self.name == "folder" else "the data set's folder"
            raise UserError(f"source.path is empty: the source '{self.name}' needs the path of {what}")
        if self.split not in PARTS:
            raise UserError(f"source.split={self.split}: must be one of {', '.join(PARTS)}; try train")
        if not 1 <= self.split_list <= 3:
            raise UserError(f"source.split_list={self.split_list}: must be 1, 2 or 3; try 1")
        if self.layout not in LAYOUTS:
            raise UserError(f"source.layout={self.layout}: must be one of {', '.join(LAYOUTS)}")
        if not 0 <= self.max_refused <= 1:
            raise UserError(f"source.max_refused={self.max_refused}: is a share, from 0 to 1; try 0.5")
        if self.name in NO_CLASSES and (self.classes or self.only_classes):
            key = "classes=true" if self.classes else f"only_classes={self.only_classes}"
            raise UserError(
                f'source.{key}: {self.name} has no classes; set source.classes to false, only_classes to ""'
            )
        if not 2 <= self.toy_videos <= 1_000_000:
            raise UserError(f"source.toy_videos={self.toy_videos}: must be from 2 to 1000000; try 320")
        if self.toy_seed < 0:
            raise UserError(f"source.toy_seed={self.toy_seed}: must not be negative; try 0")
        if self.name == "toy" and self.toy_classes:
            from pipelines.sources.toy import classes_in  # which imports this module

            classes_in(self.toy_classes)

    def wanted_classes(self) -> tuple[str, ...]:
        """The names in ``only_classes``, in their order; none: all."""
        return names_in(self.only_classes)


def names_in(text: str) -> tuple[str, ...]:
    """The names between the commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def open_source(config: SourceConfig) -> list[RawVideo]:
    """The raw videos of the configured source, sorted by name; ``UserError`` where there are none."""
    videos: Callable[[SourceConfig], list[RawVideo]] = import_module(f"{__name__}.{config.name}").videos
    return sorted(videos(config), key=lambda video: video.name)
