"""The log of a training: log.jsonl, tracking and samples."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.training_run.training_log import TrainingLog, repair_log
from tests.pipelines.small_run import report


def test_incomplete_last_line_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"clips_seen": 8, "seconds": 2.0}\n{"clips_se')
    assert repair_log(log)["clips_seen"] == 8
    assert log.read_text().endswith("2.0}\n")
    assert repair_log(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    "end",
    [b"\0" * 100, b"\0" * 100 + b"\n", b'{"clips_s' + b"\0" * 50 + b"\n", b"\n", b"\0\n" * 3, b"7\n", b"\xff\xfe\n"],
)
def test_end_that_a_power_cut_left_is_cut_off(end: bytes, tmp_path: Path) -> None:
    whole = b'{"clips_seen": 4}\n{"clips_seen": 8}\n'
    (tmp_path / "log.jsonl").write_bytes(whole + end)
    assert repair_log(tmp_path / "log.jsonl") == {"clips_seen": 8}
    assert (tmp_path / "log.jsonl").read_bytes() == whole
    (tmp_path / "log.jsonl").write_bytes(end)
    assert repair_log(tmp_path / "log.jsonl") == {} and not (tmp_path / "log.jsonl").read_bytes()


def test_store_that_fails_once_gets_every_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.training_run.training_log.RETRY", 0.01)
    monkeypatch.setattr("pipelines.training_run.training_log.MLFLOW_INTERVAL", 0.0)
    got: list[int] = []
    fails = iter([True])

    def track(metrics: dict[str, float], clips: int) -> None:
        if next(fails, False):
            raise ConnectionError("no answer")
        got.append(clips)

    log = TrainingLog(tmp_path, track=track, track_file=lambda path: None)
    for clips in (10, 20, 30):
        log.report(report(clips))
    time.sleep(0.1)
    log.close()
    assert got == [10, 20, 30] and len(caplog.records) == 1


def test_samples_are_written_and_tracked_once(tmp_path: Path) -> None:
    tracked: list[Path] = []
    log = TrainingLog(tmp_path, track=lambda metrics, clips: None, track_file=tracked.append)
    for _ in range(2):
        log.samples(160, np.zeros((2, 3, 3, 32, 32), np.uint8))
    log.close()
    assert tracked == [tmp_path / "samples/00000160.png"]
    assert Image.open(tracked[0]).width > 3 * 32
