"""Random generators by key, such as (seed, purpose, clips seen): a resumed run draws what an uninterrupted one draws."""

from __future__ import annotations

import hashlib

import torch


def seed_for(seed: int, *key: int | str) -> int:
    """A 63-bit seed from ``seed`` and every part of ``key``, the same on every machine."""
    text = "/".join(str(part) for part in (seed, *key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new ``torch.Generator`` seeded with ``seed_for(seed, *key)``."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, *key))
