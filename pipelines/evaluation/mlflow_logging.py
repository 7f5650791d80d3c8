"""An evaluation in the training's MLflow run: metrics, the curve's points as steps, digests, pictures and the page."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pipelines.evaluation.measurement import Measurement
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig

TAGS = ("metric", "protocol_text", "detector", "detector_digest", "data_digest", "is_stand_in")
logger = logging.getLogger(__name__)


def log(config: TrackingConfig, measured: Measurement, train: Path, *, files: Iterable[Path]) -> str | None:
    """Log to the run of the training in ``train``, if it has one, and return its id; ``files`` become artifacts."""
    run_file, result = train / "run.json", measured.result
    run_id = runs.read_run_id(run_file)
    if run_id is None:
        logger.warning("%s is missing or holds no run id, so nothing is logged to MLflow", run_file)
        return None
    run_id = runs.writable_run(config, run_id, "evaluate")
    client = runs.client(config)
    runs.log_evaluation(config, run_id, result.figures(), step=int(result.clips_seen or 0))
    runs.set_tags(config, run_id, {f"evaluation.{key}": str(getattr(result, key)) for key in TAGS})
    for path in sorted(filter(Path.is_file, files)):
        client.log_artifact(run_id, str(path), "evaluation")
    curve = f"evaluation/curve/{result.metric}"
    present = {(point.step, point.value) for point in client.get_metric_history(run_id, curve)}
    for row in measured.curve:
        if (int(row["clips_seen"]), row["value"]) not in present:
            client.log_metric(run_id, curve, row["value"], step=int(row["clips_seen"]))
    return run_id
