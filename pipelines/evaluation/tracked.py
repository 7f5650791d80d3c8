"""An evaluation in the training's MLflow run: figures, the curve's points as steps, digests, pictures and the page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.figures import Figures
from pipelines.services import tracking

TAGS = ("metric", "protocol_text", "detector", "detector_digest", "data_digest", "is_stand_in")


def log(
    settings: Any,
    figures: Mapping[str, Figures],
    curve: Sequence[Mapping[str, float]],
    content: Mapping[str, Any],
    train: Path,
    artifacts: Path,
    page: Path,
) -> None:
    """Log to the run that the training in ``train`` names, where there is one."""
    run_file = train / "run.json"
    if not run_file.is_file():
        print(f"evaluate: {run_file} is not there, so nothing goes to MLflow")
        return
    run_id = str(json.loads(run_file.read_text())["run_id"])
    values = {f"evaluation/{name}/{key}": v for name, part in figures.items() for key, v in part.to_json().items()}
    values = {key: value for key, value in values.items() if math.isfinite(value)}
    tags = {f"evaluation.{key}": str(content[key]) for key in TAGS}
    step = int(content["clips_seen"])
    pictures = [page, *(path for path in artifacts.iterdir() if path.is_file())]
    tracking.log_evaluation(settings.tracking, run_id, values, step=step, tags=tags)
    for path in sorted(pictures):
        tracking.log_artifact(settings.tracking, run_id, path, "evaluation")
    name = f"evaluation/curve/{content['metric']}"
    log_curve(settings.tracking, run_id, name, {int(row["clips_seen"]): row["value"] for row in curve})


def log_curve(config: Any, run_id: str, name: str, points: Mapping[int, float]) -> None:
    """One point a step; a step that has this very value already is left out, so that nothing is there twice."""
    from mlflow.entities import Metric

    client = tracking.client(config)
    present = {(point.step, point.value) for point in client.get_metric_history(run_id, name)}
    now = int(time.time() * 1000)
    new = [Metric(name, value, now, step) for step, value in points.items() if (step, value) not in present]
    if new:
        client.log_batch(run_id, metrics=new)
