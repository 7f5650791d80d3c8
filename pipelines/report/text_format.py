"""Numbers and durations as text."""

from __future__ import annotations

import math


def grouped(number: int) -> str:
    """Format ``1234567`` as ``1 234 567``."""
    return f"{number:,}".replace(",", " ")


def duration(seconds: float) -> str:
    """Format seconds, rounded up, as ``4:05``, ``2:00:09`` or ``3 d 04:10``."""
    days, rest = divmod(max(0, math.ceil(seconds)), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}"
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
