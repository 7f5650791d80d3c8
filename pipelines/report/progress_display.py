"""Progress of a long job on stdout: a live display on a terminal, occasional lines otherwise."""

from __future__ import annotations

import atexit
import math
import sys
from collections.abc import Mapping
from time import monotonic
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from digan.redaction import redacted
from pipelines.report.text_format import duration, grouped

TRAINING_METRICS = (  # name, label and format in the progress line of a training
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
    """Progress of the job ``title``.

    Jobs that count ``unit``s up to ``total`` call ``advance`` and ``finish``; others call ``show`` with a text, or ``render``
    with any rich renderable (only if ``is_live``). Without a terminal, lines are at least ``interval`` seconds apart.
    """

    def __init__(
        self, title: str, total: int = 0, *, unit: str = "videos", interval: float = 5.0, stream: TextIO | None = None
    ) -> None:
        self.title, self.total, self.unit, self.interval = title, total, unit, interval
        self._stream = stream or sys.stdout
        self.done = self._skipped = 0
        self._note = ""
        self._start = self._last_line = monotonic()
        self._live: Live | None = None

    @property
    def is_live(self) -> bool:
        """Whether the output is a terminal."""
        return self._stream.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return max(monotonic() - self._start, 1e-9)

    def advance(self, count: int = 0, note: str = "") -> None:
        """Add ``count`` (0: only refresh); ``note`` is shown after the rate and the time left."""
        self.done, self._note = self.done + count, note or self._note
        rate = (self.done - self._skipped) / self.seconds
        left = f"{duration((self.total - self.done) / rate)} left" if rate else "? left"
        parts = [f"{grouped(self.done)}/{grouped(self.total)} {self.unit}", f"{rate:.1f}/s", left, self._note]
        if self.is_live or self.done < self.total:  # finish() writes the last line
            self.show(", ".join(filter(None, parts)), share=self.done / max(self.total, 1))

    def skip(self, count: int) -> None:
        """Add ``count`` done by an earlier start, which does not affect the rate."""
        self.done += count
        self._skipped += count

    def finish(self) -> None:
        """Close the display and write count, time and rate."""
        self.close()
        new = self.done - self._skipped
        skipped = f", {grouped(self._skipped)} were already there" if self._skipped else ""
        self.message(f"{grouped(new)} {self.unit} in {self.seconds:.1f} s ({new / self.seconds:.1f}/s){skipped}")

    def show(self, text: str, *, share: float = 0.0, last: bool = False) -> None:
        """Show ``text``, on a terminal with a bar for ``share`` in [0, 1]; ``last`` shows it at once and for good."""
        if self.is_live:
            row = Table.grid(padding=(0, 1))
            row.add_row(Text(self.title), ProgressBar(total=1.0, completed=share, width=20), Text(text))
            self.render(row, last=last)
        elif last or monotonic() - self._last_line >= self.interval:
            self._last_line = monotonic()
            self.message(text)

    def render(self, content: RenderableType, *, last: bool = False) -> None:
        """Replace the content of the live display, which is redrawn twice a second; ``last`` ends the display."""
        if self._live is None:
            console = Console(file=self._stream)
            self._live = Live(content, console=console, refresh_per_second=2, redirect_stderr=sys.stderr.isatty())
            self._live.start(refresh=True)
            atexit.register(self.close)  # restores the cursor after an error
        self._live.update(content)
        if last:
            self.close()

    def message(self, text: str) -> None:
        """Write a permanent line, above a live display; credentials are hidden."""
        text = redacted(text)
        if self._live is None:
            print(f"{self.title}: {text}", file=self._stream, flush=True)
        else:
            self._live.console.print(f"{self.title}: {text}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the live display, leaving its last content."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self.close)


def training_text(seen: int, total: int, per_second: float, seconds_left: float, metrics: Mapping[str, float]) -> str:
    """Format a training's progress, such as ``12 000/40 000 clips  30%  51.2 clips/s (20 s/1000)  G 0.812  9:12 left``."""
    memory = metrics.get("device_memory_gb", metrics.get("memory_gb"))
    parts = [
        f"{grouped(seen)}/{grouped(total)} clips",
        f"{100 * seen // max(total, 1)}%",
        f"{per_second:.1f} clips/s ({1000 / max(per_second, 1e-9):.0f} s/1000)",
        *(f"{label} {format(metrics[name], form)}" for name, label, form in TRAINING_METRICS if name in metrics),
        *([] if memory is None else [f"{memory:.1f} GB"]),
        f"{duration(seconds_left)} left" if math.isfinite(seconds_left) else "? left",
    ]
    return "  ".join(parts)
