"""The log of one training, written by the driver alone: log.jsonl, samples, MLflow.

Each point is written once: what is computed again after a restart, of a worker or of the whole program, is shown but
not written a second time. A thread feeds MLflow, so that a slow or absent server does not hold up the training.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.training_run.worker_messages import ProgressReport
from pipelines.video.video_writer import write_contact_sheet

LOG = "log.jsonl"
SAMPLES = "samples"
BETWEEN_POINTS = 10.0  # seconds between two points in MLflow; log.jsonl gets all
PATIENCE = 60.0  # seconds that the end waits for MLflow
RETRY = 5.0
STRIP_PIXELS = 1600  # a sample's picture is enlarged by whole pixels up to this width

Track = Callable[[dict[str, float], int], None]  # metrics, clips seen
TrackFile = Callable[[Path], None]
logger = logging.getLogger(__name__)


class TrainingLog:
    """Writes below ``folder``; ``track`` and ``track_file`` put metrics and pictures into the run, in a thread."""

    def __init__(self, folder: Path, track: Track, track_file: TrackFile) -> None:
        self.folder = folder
        self._track, self._track_file = track, track_file
        folder.mkdir(parents=True, exist_ok=True)
        last = repair_log(folder / LOG)
        self.clips_seen = int(last.get("clips_seen", 0))
        self.seconds = float(last.get("seconds", 0.0))  # of training up to clips_seen, over all launches
        self._before = self.seconds
        self._start: float | None = None
        self._point_due = -1.0
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._closing = threading.Event()
        self._feeder = threading.Thread(target=self._feed, name="mlflow", daemon=True)
        self._feeder.start()

    def begin(self) -> None:
        """Count time as training from here on, restarts of workers included; called when workers have started."""
        if self._start is None:
            self._start = time.monotonic()

    def report(self, report: ProgressReport) -> None:
        """Write a point, unless an earlier launch or attempt came further."""
        if report.clips_seen <= self.clips_seen:
            return
        self.begin()
        assert self._start is not None
        self.clips_seen, self.seconds = report.clips_seen, self._before + time.monotonic() - self._start
        metrics = {
            "clips_per_second": report.clips_per_second,
            "seconds_per_1000_clips": 1000 / max(report.clips_per_second, 1e-9),
            "seconds_left": round(report.seconds_left, 1),
            **report.metrics,
        }
        line = {"clips_seen": report.clips_seen, "seconds": round(self.seconds, 2), **metrics}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        now = time.monotonic()
        if now >= self._point_due or report.clips_seen >= report.clips_total:
            self._point_due = now + BETWEEN_POINTS
            self._work.put(lambda: self._track(metrics, report.clips_seen))

    def samples(self, clips_seen: int, videos: np.ndarray) -> None:
        """Write uint8 [B, T, 3, H, W] as ``samples/NNNNNNNN.png``, a row per video."""
        import torch

        path = self.folder / SAMPLES / f"{clips_seen:08d}.png"
        known = path.exists()
        times, width = videos.shape[1], videos.shape[-1]
        write_contact_sheet(path, torch.from_numpy(np.array(videos)), max(1, STRIP_PIXELS // (times * width)))
        if not known:
            self._work.put(lambda: self._track_file(path))

    def close(self) -> None:
        """Wait until MLflow has everything, at most ``PATIENCE`` seconds."""
        self._closing.set()
        self._work.put(None)
        self._feeder.join(PATIENCE)
        if self._feeder.is_alive():
            logger.warning("MLflow did not take the last points within %.0f s; %s has them", PATIENCE, LOG)

    def _feed(self) -> None:
        """Do one thing after the other; what fails is tried again, so that the history in MLflow has no gap."""
        while (work := self._work.get()) is not None:
            warned = False
            while True:
                try:
                    work()
                    break
                except Exception as error:
                    if self._closing.is_set() and warned:
                        logger.warning("MLflow does not answer; %s has the points that it lacks", LOG)
                        return
                    if not warned:
                        reason = " ".join(str(error).split())[:120] or "no message"
                        logger.warning("MLflow rejected a point (%s: %s); trying again", type(error).__name__, reason)
                    warned = True
                    self._closing.wait(RETRY)


def repair_log(path: Path) -> dict[str, Any]:
    """The last line of the log, empty where there is none; a half-written line of a killed driver is cut off."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as log:
            log.truncate(len(whole))
    lines = whole.splitlines()
    return json.loads(lines[-1]) if lines else {}


def curves(path: Path) -> list[dict[str, Any]]:
    """The log's points as rows of a table for `dvc plots`; a column for every metric, empty where a point has none."""
    points = [json.loads(line) for line in path.read_bytes().splitlines()]
    names = sorted({name for point in points for name in point} - {"clips_seen"})
    return [{"clips_seen": point["clips_seen"], **{name: point.get(name, "") for name in names}} for point in points]
