"""What a person sees of an ingest while it goes on."""

from __future__ import annotations

import time

from pipelines.media.encode import EncodedVideo

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

    def step(self, result: EncodedVideo) -> None:
        """Count one more video, and print a line if the last one is old."""
        self.done, self.fresh, self.frames = self.done + 1, self.fresh + 1, self.frames + result.frames
        self.refused += bool(result.refused)
        now = time.monotonic()
        if now - self.shown < PROGRESS_SECONDS:
            return
        self.shown = now
        rate = self.fresh / (now - self.began)
        print(
            f"ingest: {self.done} of {self.total} videos, {rate:.1f} videos/s,"
            f" {self.frames / (now - self.began):.0f} frames/s,"
            f" {(self.total - self.done) / rate:.0f} s left, {self.refused} refused",
            flush=True,
        )
