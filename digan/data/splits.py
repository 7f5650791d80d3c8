"""Which split a video belongs to: a stable hash of its name, so that adding videos moves none between splits."""

from __future__ import annotations

import hashlib

TRAIN, VALIDATION = "train", "val"


def stable_fraction(name: str, salt: str) -> float:
    """A number in [0, 1) that depends on the name and the salt alone, equal on every machine."""
    digest = hashlib.sha256(f"{salt}/{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def split_of(name: str, validation_share: float) -> str:
    """``"val"`` for about ``validation_share`` of all names, else ``"train"``; a growing share moves names one way
    only.
    """
    return VALIDATION if stable_fraction(name, "split") < validation_share else TRAIN


def shuffled(names: list[str]) -> list[str]:
    """The names in an order that has nothing to do with folders or classes, the same for every order they come in."""
    return sorted(names, key=lambda name: (stable_fraction(name, "order"), name))
