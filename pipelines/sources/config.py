"""The keys of the section ``source`` that every source reads, and the base classes of the sources' own configs."""

from __future__ import annotations

import difflib
from collections.abc import Collection
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


class RawSource:
    """A raw data set; a subclass is a dataclass with the keys of the section ``source.NAME``."""

    name: ClassVar[str]
    makes_videos: ClassVar[bool] = False  # if so, source.path may be empty
    has_classes: ClassVar[bool] = True

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List the videos from names and lists alone, without decoding. ``UserError`` where there are none."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OfficialSplit(RawSource):
    """A data set with a train and a test part; ``split`` names the part to train on, or is ``both``."""

    split: str

    def __post_init__(self) -> None:
        if self.split not in PARTS:
            raise UserError(f"source.{self.name}.split={self.split}: must be one of {', '.join(PARTS)}; try train")

    def split_of(self, part: str) -> str:
        """Return ``train`` for the videos of a part to train on, else ``val``."""
        return TRAIN if self.split in ("both", part) else VALIDATION


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated text."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def check_classes(common: CommonConfig, videos: list[RawVideo]) -> list[RawVideo]:
    """Return the videos in the classes of ``source.only_classes`` (empty: all), each of which must exist.

    ``UserError`` if ``source.classes`` is true and a video has no class.
    """
    wanted = split_names(common.only_classes)
    known = {video.class_name for video in videos if video.class_name is not None}
    for name in wanted:
        if name not in known:
            raise unknown_class("source.only_classes", name, known, "the videos")
    chosen = [video for video in videos if not wanted or video.class_name in wanted]
    without = [video.name for video in chosen if video.class_name is None]
    if common.classes and without:
        raise UserError(
            f"source.classes=true: {len(without)} videos are in no class folder, such as {without[0]};"
            " move them into sub-folders or set it to false"
        )
    return chosen


def class_folder(name: str) -> str | None:
    """Return the first folder of a video's name, which is its class; ``None`` if it is in no folder."""
    return name.split("/")[0] if "/" in name else None


def unknown_class(key: str, name: str, known: Collection[str], where: str) -> UserError:
    """Return the error for a class that ``key`` asks for and that does not exist."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    hint = f"nearest is {near[0]}" if near else 'they have none, so set it to ""'
    return UserError(f"{key}: {name} is no class of {where}; {hint}")
