"""Raw data sets: one module per source, chosen by ``source.name``.

A source owns a config, its sub-section of ``source`` in params.yaml, and a function
``videos(common, config) -> list[RawVideo]``, which looks at names and lists only; nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from digan.errors import UserError
from pipelines.media.raw import RawVideo
from pipelines.sources import folder, frames, kinetics_food, sky_timelapse, taichi_hd, toy, ucf101
from pipelines.sources.config import CommonConfig
from pipelines.sources.folder import FolderConfig
from pipelines.sources.frames import FramesConfig
from pipelines.sources.kinetics_food import KineticsFoodConfig
from pipelines.sources.sky_timelapse import SkyTimelapseConfig
from pipelines.sources.taichi_hd import TaichiHDConfig
from pipelines.sources.toy import ToyConfig
from pipelines.sources.ucf101 import Ucf101Config

__all__ = ["SOURCES", "RawVideo", "SourceConfig", "open_source"]

SOURCES: dict[str, Callable[[CommonConfig, Any], list[RawVideo]]] = {
    "toy": toy.videos,
    "folder": folder.videos,
    "frames": frames.videos,
    "ucf101": ucf101.videos,
    "sky_timelapse": sky_timelapse.videos,
    "taichi_hd": taichi_hd.videos,
    "kinetics_food": kinetics_food.videos,
}
NO_PATH = frozenset(("toy",))  # sources that make their videos
NO_CLASSES = frozenset(("sky_timelapse", "taichi_hd"))


@dataclass(frozen=True, kw_only=True)
class SourceConfig(CommonConfig):
    """The section ``source`` of params.yaml, with one sub-section per source."""

    toy: ToyConfig
    folder: FolderConfig
    frames: FramesConfig
    ucf101: Ucf101Config
    sky_timelapse: SkyTimelapseConfig
    taichi_hd: TaichiHDConfig
    kinetics_food: KineticsFoodConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in SOURCES:
            raise UserError(f"source.name={self.name}: no such source; one of {', '.join(SOURCES)}")
        if self.name not in NO_PATH and not self.path:
            what = "a folder of videos" if self.name == "folder" else "the data set's folder"
            raise UserError(f"source.path is empty: the source '{self.name}' needs the path of {what}")
        if self.name in NO_CLASSES and (self.classes or self.only_classes):
            key = "classes=true" if self.classes else f"only_classes={self.only_classes}"
            raise UserError(
                f'source.{key}: {self.name} has no classes; set source.classes to false, only_classes to ""'
            )


def open_source(config: SourceConfig) -> list[RawVideo]:
    """The raw videos of the configured source, sorted by name; ``UserError`` where there are none."""
    found = SOURCES[config.name](config, getattr(config, config.name))
    return sorted(found, key=lambda video: video.name)
