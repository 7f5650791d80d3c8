"""The keys of the section ``source`` that every source reads, and the checks that several sources share."""

from __future__ import annotations

from dataclasses import dataclass

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError

PARTS = ("train", "test", "both")


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Which source, the path of its files, and which classes of it."""

    name: str
    path: str
    classes: bool
    only_classes: str
    max_refused: float

    def __post_init__(self) -> None:
        if not 0 <= self.max_refused <= 1:
            raise UserError(f"source.max_refused={self.max_refused}: is a share, from 0 to 1; try 0.5")

    def wanted_classes(self) -> tuple[str, ...]:
        """The names in ``only_classes``, in their order; empty: all classes."""
        return split_names(self.only_classes)


def split_names(text: str) -> tuple[str, ...]:
    """The names between the commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def check_part(source: str, part: str) -> None:
    """``UserError`` unless ``source.SOURCE.split`` names a part of an official split, or both."""
    if part not in PARTS:
        raise UserError(f"source.{source}.split={part}: must be one of {', '.join(PARTS)}; try train")


def split_for(trained_on: str, part: str) -> str:
    """The split of the videos in an official ``part``: ``train`` if it is trained on, else ``val``; with ``both``
    nothing is held out.
    """
    return TRAIN if trained_on in ("both", part) else VALIDATION
