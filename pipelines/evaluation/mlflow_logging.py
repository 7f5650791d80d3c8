"""An evaluation in the training's MLflow run: metrics, the curve's points as steps, digests, pictures and the page."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.evaluation.measurement import Measurement
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig

TAGS = ("metric", "protocol_text", "detector", "detector_digest", "data_digest", "is_stand_in")
logger = logging.getLogger(__name__)


def log(config: TrackingConfig, measured: Measurement, train: Path, *, files: Iterable[Path]) -> None:
    """Log to the run of the training in ``train``, if it has one; ``files`` become artifacts."""
    run_file, result = train / "run.json", measured.result
    if not run_file.is_file():
        logger.warning("%s is missing, so nothing is logged to MLflow", run_file)
        return
    run_id = str(json.loads(run_file.read_text())["run_id"])
    values = {
        f"evaluation/{name}/{key}": value
        for name, metric in result.metrics.items()
        for key, value in metric.to_json().items()
        if math.isfinite(value)
    }
    tags = {f"evaluation.{key}": str(getattr(result, key)) for key in TAGS}
    runs.log_evaluation(config, run_id, values, step=int(result.clips_seen or 0))
    runs.set_tags(config, run_id, tags)
    for path in sorted(path for path in files if path.is_file()):
        runs.log_artifact(config, run_id, path, "evaluation")
    points = {int(row["clips_seen"]): row["value"] for row in measured.curve}
    _log_curve(config, run_id, f"evaluation/curve/{result.metric}", points)


def _log_curve(config: TrackingConfig, run_id: str, name: str, points: Mapping[int, float]) -> None:
    """Log a point for each step, except those that the run has already."""
    from mlflow.entities import Metric

    client = runs.client(config)
    present = {(point.step, point.value) for point in client.get_metric_history(run_id, name)}
    now = int(time.time() * 1000)
    new = [Metric(name, value, now, step) for step, value in points.items() if (step, value) not in present]
    if new:
        client.log_batch(run_id, metrics=new)
