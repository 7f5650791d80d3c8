"""One line of progress every few seconds: how much, how fast, how long still."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Counts what is done of ``total``; every ``interval`` seconds ``LABEL: 128/1024 videos, 22.1/s, 41 s left``."""

    def __init__(
        self,
        label: str,
        total: int,
        *,
        unit: str = "videos",
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self.label, self.total, self.unit, self.interval = label, total, unit, interval
        self._clock, self._show = clock, show
        self.done = self._skipped = 0
        self._start = self._last = clock()

    def add(self, count: int) -> None:
        """``count`` more are done."""
        self.done += count
        now = self._clock()
        if now - self._last >= self.interval and self.done < self.total:
            self._last = now
            rate = (self.done - self._skipped) / (now - self._start)
            left = (self.total - self.done) / rate
            self._show(f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {left:.0f} s left")

    def skip(self, count: int) -> None:
        """``count`` more were done before; they count for the whole and not for the rate."""
        self.done += count
        self._skipped += count

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def finish(self) -> None:
        """The last line: count, time and rate."""
        seconds = max(self.seconds, 1e-9)
        made = self.done - self._skipped
        kept = f", {self._skipped} were there already" if self._skipped else ""
        self._show(f"{self.label}: {made} {self.unit} in {seconds:.1f} s ({made / seconds:.1f}/s){kept}")
