"""Progress of a long job on stdout: a live display on a terminal, a line now and then in a file."""

from __future__ import annotations

import atexit
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from pipelines.report.text_format import duration, grouped

RENEWAL = 0.5  # seconds between two renewals of the live display
# Figures of a training in its line of progress: name, label, format.
FIGURES = (
    ("loss/generator", "G", ".3f"),
    ("loss/discriminator", "D", ".3f"),
    ("loss/r1", "R1", ".3f"),
    ("gradients/generator", "|gG|", ".2f"),
    ("gradients/discriminator", "|gD|", ".2f"),
    ("signs/real_image", "signs real", "+.2f"),  # 1: all logits are positive, -1: all are negative
    ("signs/fake_image", "fake", "+.2f"),
    ("waiting", "waiting", ".0%"),
)


class ProgressDisplay:
    """Shows how far the job ``title`` is.

    Jobs that count call ``advance`` and ``finish``, which show rate and time left of ``total``. Others call ``show`` with
    a text of their own, or ``render`` with anything that rich can draw (on a terminal only, see ``is_live``).
    ``interval`` is the time in seconds between two lines where the display is not live.
    """

    def __init__(
        self,
        title: str,
        total: int = 0,
        *,
        unit: str = "videos",
        interval: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.unit, self.interval = title, total, unit, interval
        self._stream, self._clock = stream or sys.stdout, clock
        self.done = self._skipped = 0
        self._note = ""
        self._start = self._last_line = clock()
        self._last_renewal = -math.inf
        self._live: Any = None

    @property
    def is_live(self) -> bool:
        """Whether the display renews itself in place."""
        return self._stream.isatty()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return max(self._clock() - self._start, 1e-9)

    def advance(self, count: int = 0, note: str = "") -> None:
        """Count ``count`` more; ``note`` is shown behind the rate. A count of zero renews the display alone."""
        self.done += count
        self._note = note or self._note
        rate = (self.done - self._skipped) / self.seconds
        left = f"{duration((self.total - self.done) / rate)} left" if rate else "? left"
        parts = [f"{grouped(self.done)}/{grouped(self.total)} {self.unit}", f"{rate:.1f}/s", left, self._note]
        if self.is_live or self.done < self.total:  # finish() has the last line
            self.show(", ".join(filter(None, parts)), share=self.done / max(self.total, 1))

    def skip(self, count: int) -> None:
        """Count ``count`` more as done before; they do not enter the rate."""
        self.done += count
        self._skipped += count

    def finish(self) -> None:
        """Close the display and show count, time and rate."""
        self.close()
        made = self.done - self._skipped
        kept = f", {grouped(self._skipped)} were already there" if self._skipped else ""
        self.message(f"{grouped(made)} {self.unit} in {self.seconds:.1f} s ({made / self.seconds:.1f}/s){kept}")

    def show(self, text: str, *, share: float = 0.0, last: bool = False) -> None:
        """Show ``text``, with a bar for ``share`` in [0, 1] on a terminal; ``last`` shows it at once and lets it stay."""
        if self.is_live:
            from rich.progress_bar import ProgressBar
            from rich.table import Table
            from rich.text import Text

            row = Table.grid(padding=(0, 1))
            row.add_row(Text(self.title), ProgressBar(total=1.0, completed=share, width=20), Text(text))
            self.render(row, last=last)
        elif last or self._clock() - self._last_line >= self.interval:
            self._last_line = self._clock()
            self.message(text)

    def render(self, content: Any, *, last: bool = False) -> None:
        """Put ``content`` in place of what the terminal shows; ``last`` does so at once and lets it stay."""
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            console, shares_terminal = Console(file=self._stream), sys.stderr.isatty()
            self._live = Live(content, console=console, auto_refresh=False, redirect_stderr=shares_terminal)
            self._live.start()
            atexit.register(self.close)  # an error must not leave the terminal without a cursor
        due = self._clock() - self._last_renewal >= RENEWAL
        if due or last:
            self._last_renewal = self._clock()
        self._live.update(content, refresh=due or last)
        if last:
            self.close()

    def message(self, text: str) -> None:
        """Write a line that stays, above a live display."""
        if self._live is None:
            self._stream.write(f"{self.title}: {text}\n")
            self._stream.flush()
        else:
            self._live.console.print(f"{self.title}: {text}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the live display; what it showed last stays."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            atexit.unregister(self.close)


def training_text(seen: int, total: int, per_second: float, seconds_left: float, metrics: Mapping[str, float]) -> str:
    """``12 000/40 000 clips  30%  51.2 clips/s (20 s/1000)  G 0.812  D 1.234  signs real +0.21  fake -0.30  waiting 1%
    1.2 GB  9:12 left``, without what was not measured.
    """
    parts = [
        f"{grouped(seen)}/{grouped(total)} clips",
        f"{100 * seen // max(total, 1)}%",
        f"{per_second:.1f} clips/s ({1000 / max(per_second, 1e-9):.0f} s/1000)",
        *(f"{label} {format(metrics[name], form)}" for name, label, form in FIGURES if name in metrics),
    ]
    memory = metrics.get("device_memory_gb", metrics.get("memory_gb"))
    parts += [f"{memory:.1f} GB"] if memory is not None else []
    return "  ".join([*parts, f"{duration(seconds_left)} left" if math.isfinite(seconds_left) else "? left"])
