"""The progress display: lines in a file, a live display on a terminal."""

from __future__ import annotations

import io
import math

import pytest

from pipelines.report.progress_display import ProgressDisplay, training_text
from pipelines.report.text_format import duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def counted(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    clock = Clock()
    monkeypatch.setattr("pipelines.report.progress_display.monotonic", clock)
    display = ProgressDisplay("ingest", 100, stream=stream)
    display.skip(20)
    for _ in range(8):
        clock.now += 2.0
        display.advance(10, note="3 rejected")
    display.finish()
    return stream.getvalue()


def test_file_gets_a_line_per_interval_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert counted(io.StringIO(), monkeypatch).splitlines() == [
        "ingest: 50/100 videos, 5.0/s, 0:10 left, 3 rejected",
        "ingest: 80/100 videos, 5.0/s, 0:04 left, 3 rejected",
        "ingest: 80 videos in 16.0 s (5.0/s), 20 were already there",
    ]


def test_terminal_shows_a_bar_that_is_refreshed_and_restores_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = counted(Terminal(), monkeypatch)
    assert "\x1b[2K" in text and "━" in text and "100/100 videos, 5.0/s, 0:00 left, 3 rejected" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.endswith("ingest: 80 videos in 16.0 s (5.0/s), 20 were already there\n")


def test_message_stays_above_a_live_display_and_markup_is_not_interpreted() -> None:
    stream = Terminal()
    display = ProgressDisplay("train", stream=stream)
    display.show("[bold]10 clips[/bold]", share=0.5)
    display.message("resuming [red]here")
    display.close()
    text = stream.getvalue()
    assert "train: resuming [red]here" in text and "[bold]10 clips[/bold]" in text


def test_training_text_shows_only_measured_metrics() -> None:
    text = training_text(12000, 40000, 51.24, 552, {"loss/generator": 0.8123, "loss/discriminator": 1.2})
    assert text == "12 000/40 000 clips  30%  51.2 clips/s (20 s/1000)  G 0.812  D 1.200  9:12 left"
    metrics = {"gradients/generator": 0.5, "signs/real_image": 0.25, "signs/fake_image": -1.0, "waiting": 0.02}
    text = training_text(10, 20, 1.0, math.inf, {**metrics, "memory_gb": 1.2})
    expected = "10/20 clips  50%  1.0 clips/s (1000 s/1000)  |gG| 0.50  signs real +0.25  fake -1.00  waiting 2%  1.2 GB  ? left"
    assert text == expected


def test_duration_rounds_up_to_seconds() -> None:
    assert [duration(s) for s in (0, 59.2, 3600, 90000)] == ["0:00", "1:00", "1:00:00", "1 d 01:00"]
