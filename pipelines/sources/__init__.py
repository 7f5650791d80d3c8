"""Raw data sets, chosen by ``source.name``.

To add a source, write a subclass of ``RawSource`` in a module of its own and add a field to ``SourceConfig`` and a
sub-section to ``source`` in params.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

from digan.errors import UserError
from pipelines.sources.base import CommonConfig, RawSource
from pipelines.sources.folder import FolderConfig
from pipelines.sources.frames import FramesConfig, SkyTimelapseConfig, TaichiHDConfig
from pipelines.sources.kinetics_food import KineticsFoodConfig
from pipelines.sources.sky_synthetic import SkySyntheticConfig
from pipelines.sources.toy import ToyConfig
from pipelines.sources.ucf101 import Ucf101Config
from pipelines.video.decoder import DecoderName
from pipelines.video.raw_video import RawVideo

__all__ = ["SOURCES", "RawVideo", "SourceConfig", "open_source"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig(CommonConfig):
    """The section ``source`` of params.yaml, with a sub-section for each source."""

    sky_synthetic: SkySyntheticConfig
    toy: ToyConfig
    folder: FolderConfig
    frames: FramesConfig
    ucf101: Ucf101Config
    sky_timelapse: SkyTimelapseConfig
    taichi_hd: TaichiHDConfig
    kinetics_food: KineticsFoodConfig

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise UserError(f"source.name={self.name}: no such source; one of {', '.join(SOURCES)}")
        if not self.chosen.makes_videos and not self.path:
            what = "a folder of videos" if self.name == "folder" else "the data set's folder"
            raise UserError(f"source.path is empty: the source '{self.name}' needs the path of {what}")
        if not 0 <= self.max_rejected <= 1:
            raise UserError(f"source.max_rejected={self.max_rejected}: must be a share from 0 to 1; try 0.5")
        if self.decoder not in get_args(DecoderName):
            raise UserError(f"source.decoder={self.decoder}: must be pyav or decord; try pyav")
        if not self.chosen.has_classes and (self.classes or self.only_classes):
            key = "classes=true" if self.classes else f"only_classes={self.only_classes}"
            remedy = 'set source.classes to false, only_classes to ""'
            raise UserError(f"source.{key}: {self.name} has no classes; {remedy}")

    @property
    def chosen(self) -> RawSource:
        source: RawSource = getattr(self, self.name)
        return source


SOURCES = tuple(field.name for field in fields(SourceConfig)[len(fields(CommonConfig)) :])


def open_source(config: SourceConfig) -> list[RawVideo]:
    """List the raw videos of the configured source, sorted by name; ``UserError`` where there are none."""
    return sorted(config.chosen.list_videos(config), key=lambda video: video.name)
