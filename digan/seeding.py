"""Randomness by place: a generator for (seed, rank, clips seen), so that a resumed run draws what an unbroken one draws."""

from __future__ import annotations

import hashlib

import torch


def seed_for(seed: int, *place: int | str) -> int:
    """A 63-bit seed that depends on every part of ``place``; equal on every machine and in every process."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, *place: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator seeded by ``seed_for``; draw in a fixed order and equal places give equal numbers."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, *place))
