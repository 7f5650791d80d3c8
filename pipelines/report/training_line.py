"""The training's progress line: one line that renews itself on a terminal, one line now and then in a file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TextIO

SECONDS_BETWEEN_LINES = 10.0  # where the line cannot renew itself
SHOWN = {"loss/generator": "G", "loss/discriminator": "D", "loss/r1": "R1"}
NORMS = {"gradients/generator": "|gG|", "gradients/discriminator": "|gD|"}
SIGNS = {"signs/real_image": "real", "signs/fake_image": "fake"}  # 1: all logits above 0, -1: all below


def training_line(seen: int, total: int, per_second: float, seconds_left: float, metrics: Mapping[str, float]) -> str:
    """``12 000/40 000 clips  30%  51.2 clips/s (20 s/1000)  G 0.812  D 1.234  R1 0.012  |gG| 0.31  |gD| 0.22  signs real +0.21
    fake -0.30  waiting 1%  1.2 GB  9:12 left``, without what was not measured.
    """
    told = [f"{short} {metrics[name]:.3f}" for name, short in SHOWN.items() if name in metrics]
    told += [f"{short} {metrics[name]:.2f}" for name, short in NORMS.items() if name in metrics]
    signs = [f"{short} {metrics[name]:+.2f}" for name, short in SIGNS.items() if name in metrics]
    told += ["signs " + " ".join(signs)] if signs else []
    told += [f"waiting {100 * metrics['waiting']:.0f}%"] if "waiting" in metrics else []
    memory = metrics.get("device_memory_gb", metrics.get("memory_gb"))
    told += [f"{memory:.1f} GB"] if memory is not None else []
    left = f"{duration(seconds_left)} left" if math.isfinite(seconds_left) else "? left"
    share = 100 * seen // max(total, 1)
    rate = f"{per_second:.1f} clips/s ({1000 / max(per_second, 1e-9):.0f} s/1000)"
    return "  ".join([f"{grouped(seen)}/{grouped(total)} clips", f"{share}%", rate, *told, left])


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


class TrainingLine:
    """Shows the newest state on ``stream`` (stderr); ``say`` puts a lasting line above it."""

    def __init__(self, title: str, stream: TextIO | None = None, *, every: float = SECONDS_BETWEEN_LINES) -> None:
        self.title, self.stream, self.every = title, stream or sys.stderr, every
        self._renews = self.stream.isatty()
        self._width = 0
        self._last = -math.inf

    def show(self, text: str, *, last: bool = False) -> None:
        """The state now; ``last`` makes it stay."""
        now = time.monotonic()
        line = f"{self.title}: {text}"
        if self._renews:
            self._write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = 0 if last else len(line)
        elif last or now - self._last >= self.every:
            self._write(line + "\n")
            self._last = now

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._write(f"{self.title}: {text}\n")

    def clear(self) -> None:
        """Take the renewing line away, so that something else can be written."""
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
