"""The keys of the section ``source`` that every source reads, and the base classes of the sources' own configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.video.raw_video import RawVideo

PARTS = ("train", "test", "both")


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Which source, the path of its files, and which classes of it."""

    name: str
    path: str
    classes: bool
    only_classes: str
    max_rejected: float

    def wanted_classes(self) -> tuple[str, ...]:
        """The names in ``only_classes``, in their order; empty: all classes."""
        return split_names(self.only_classes)


class RawSource:
    """A raw data set; its subclass is a dataclass with the keys of the section ``source.NAME``."""

    name: ClassVar[str]
    makes_videos: ClassVar[bool] = False  # and so needs no source.path
    has_classes: ClassVar[bool] = True

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """The videos, from names and lists only: nothing is decoded. ``UserError`` where there are none."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OfficialSplit(RawSource):
    """A data set with a train and a test part; ``split`` names the part to train on, or is ``both``."""

    split: str

    def __post_init__(self) -> None:
        if self.split not in PARTS:
            raise UserError(f"source.{self.name}.split={self.split}: must be one of {', '.join(PARTS)}; try train")

    def split_of(self, part: str) -> str:
        """``train`` for videos of a part that is trained on, else ``val``."""
        return TRAIN if self.split in ("both", part) else VALIDATION


def split_names(text: str) -> tuple[str, ...]:
    """The names between the commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))
