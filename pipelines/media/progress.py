"""What a person sees of an ingest while it goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

PROGRESS_SECONDS = 5.0


class Progress:
    """A line every few seconds: videos done, videos/s, frames/s, time left, refused."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.fresh, self.frames, self.refused = total, 0, 0, 0, 0
        self.began = self.shown = time.monotonic()

    def resumed(self, videos: int) -> None:
        """Say how many videos lie in whole shards already."""
        if videos:
            self.done += videos
            print(f"ingest: goes on after {videos} videos of an earlier start", flush=True)

    def step(self, records: Sequence[dict[str, Any]]) -> None:
        """Count the videos of a chunk."""
        self.done, self.fresh = self.done + len(records), self.fresh + len(records)
        self.frames += sum(record["frames"] for record in records)
        self.refused += sum(bool(record["refused"]) for record in records)
        self.show()

    def show(self) -> None:
        """Print a line if the last one is old."""
        now = time.monotonic()
        if now - self.shown < PROGRESS_SECONDS:
            return
        self.shown = now
        rate = self.fresh / (now - self.began)
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "no chunk done yet"
        print(
            f"ingest: {self.done} of {self.total} videos, {rate:.1f} videos/s,"
            f" {self.frames / (now - self.began):.0f} frames/s, {left}, {self.refused} refused",
            flush=True,
        )
