"""The log of one training, written by the driver alone: log.jsonl, sample images, MLflow.

Each point is written once: what is computed again after a restart is displayed but not logged again. A thread feeds
MLflow, so that a slow or absent server does not hold up the training.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from digan.redaction import redacted
from digan.training.running_metrics import TrainingProgress
from pipelines.video.video_writer import write_contact_sheet

LOG = "log.jsonl"
SAMPLES = "samples"
MLFLOW_INTERVAL = 10.0  # seconds between two points in MLflow; log.jsonl gets all
CLOSE_TIMEOUT = 60.0  # seconds that the end waits for MLflow
RETRY = 5.0  # seconds before a point is sent to MLflow again
SHEET_WIDTH = 1600  # pixels; a contact sheet is enlarged by a whole factor up to this width

logger = logging.getLogger(__name__)


class TrainingLog:
    """Writes below ``folder``. ``track(metrics, clips_seen)`` and ``track_file(path)`` send to MLflow, in a thread."""

    def __init__(
        self, folder: Path, track: Callable[[dict[str, float], int], None], track_file: Callable[[Path], None]
    ) -> None:
        self.folder, self._track, self._track_file = folder, track, track_file
        folder.mkdir(parents=True, exist_ok=True)
        last = repair_log(folder / LOG)
        self.clips_seen = int(last.get("clips_seen", 0))
        self.seconds = self._seconds_before = float(last.get("seconds", 0.0))  # of training, over all launches
        self._start = 0.0
        self._next_point = -1.0
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="mlflow", daemon=True)
        self._thread.start()

    def begin(self) -> float:
        """Start the clock of the training at the first call, when workers have started; return its start."""
        self._start = self._start or time.monotonic()
        return self._start

    def report(self, report: TrainingProgress) -> None:
        """Write a point, unless the log already has it."""
        if report.clips_seen <= self.clips_seen:
            return
        begun, now = self.begin(), time.monotonic()
        self.clips_seen, self.seconds = report.clips_seen, self._seconds_before + now - begun
        metrics = {
            "clips_per_second": report.clips_per_second,
            "seconds_per_1000_clips": 1000 / max(report.clips_per_second, 1e-9),
            "seconds_left": round(report.seconds_left, 1),
            **report.metrics,
        }
        point = {"clips_seen": report.clips_seen, "seconds": round(self.seconds, 2), **metrics}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(point) + "\n")
        if now >= self._next_point or report.clips_seen >= report.clips_total:
            self._next_point = now + MLFLOW_INTERVAL
            self._tasks.put(lambda: self._track(metrics, report.clips_seen))

    def samples(self, clips_seen: int, videos: np.ndarray) -> None:
        """Write uint8 [B, T, 3, H, W] as ``samples/NNNNNNNN.png``, a row per video."""
        path = self.folder / SAMPLES / f"{clips_seen:08d}.png"
        is_new = not path.exists()
        enlarged = max(1, SHEET_WIDTH // (videos.shape[1] * videos.shape[-1]))
        write_contact_sheet(path, torch.from_numpy(np.array(videos)), enlarged)
        if is_new:
            self._tasks.put(lambda: self._track_file(path))

    def close(self) -> None:
        """Wait until MLflow has everything, at most ``CLOSE_TIMEOUT`` seconds."""
        self._closing.set()
        self._tasks.put(None)
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            logger.warning("MLflow did not take the last points within %.0f s; %s has them", CLOSE_TIMEOUT, LOG)

    def _feed(self) -> None:
        """Run the tasks in order. One that fails is retried, so that the history in MLflow has no gap."""
        while (task := self._tasks.get()) is not None:
            for attempt in itertools.count():
                try:
                    task()
                    break
                except Exception as error:
                    if self._closing.is_set() and attempt > 0:
                        logger.warning("MLflow does not answer; %s has the missing points", LOG)
                        return
                    if attempt == 0:
                        reason = " ".join(redacted(str(error)).split())[:120] or "no message"
                        logger.warning("MLflow rejected a point (%s: %s); trying again", type(error).__name__, reason)
                    self._closing.wait(RETRY)


def repair_log(path: Path) -> dict[str, Any]:
    """The last point of the log, empty if there is none; lines at its end that a kill or a power cut left broken are cut off."""
    content = path.read_bytes() if path.is_file() else b""
    lines = content.splitlines(keepends=True)
    while lines and (last := _point(lines[-1])) is None:
        lines.pop()
    if (length := sum(map(len, lines))) < len(content):
        os.truncate(path, length)
    return last if lines and last else {}


def _point(line: bytes) -> dict[str, Any] | None:
    """The point in a line, ``None`` if the line is not whole."""
    try:
        point = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return point if isinstance(point, dict) else None


def curves(path: Path) -> list[dict[str, Any]]:
    """The log's points as rows of a table for `dvc plots`; a column for every metric, empty where a point has none."""
    points = [json.loads(line) for line in path.read_bytes().splitlines()]
    names = ["clips_seen", *sorted({name for point in points for name in point} - {"clips_seen"})]
    return [{name: point.get(name, "") for name in names} for point in points]
