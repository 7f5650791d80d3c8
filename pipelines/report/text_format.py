"""Numbers as text for people."""

from __future__ import annotations

import math


def grouped(number: int) -> str:
    """``1234567`` as ``1 234 567``."""
    return f"{number:,}".replace(",", " ")


def duration(seconds: float) -> str:
    """``4:05``, ``2:00:09`` or ``3 d 04:10``; rounded up to whole seconds."""
    days, rest = divmod(max(0, math.ceil(seconds)), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}"
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
