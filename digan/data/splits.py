"""Train and validation splits by a stable hash of the video name: adding videos never moves one between splits."""

from __future__ import annotations

import hashlib

TRAIN, VALIDATION = "train", "val"


def stable_fraction(name: str, salt: str) -> float:
    """A number in [0, 1) from name and salt alone, the same on every machine."""
    digest = hashlib.sha256(f"{salt}/{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def split_of(name: str, validation_share: float) -> str:
    """``"val"`` for about ``validation_share`` of all names, else ``"train"``; a larger share only adds to ``"val"``."""
    return VALIDATION if stable_fraction(name, "split") < validation_share else TRAIN


def shuffled(names: list[str]) -> list[str]:
    """The names in pseudorandom order, independent of folders, classes and the order of ``names``."""
    return sorted(names, key=lambda name: (stable_fraction(name, "order"), name))
