"""A sweep in MLflow: one parent run and one child run per trial, found by their tags, so that none is created twice."""

from __future__ import annotations

from pathlib import Path

from pipelines.sweeps.sweep_state import FAILED, FINISHED, STOPPED, TrialRecord
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig
from pipelines.training_run.training_log import LOG, repair_log

SWEEP_ID, NUMBER, PARENT = "sweep.id", "sweep.trial", "mlflow.parentRunId"
QUICK = "quick"  # the metric is quick/<metric's name>, in trials and trainings alike
STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED"}
RUN_FILE = "run.json"


def close(config: TrackingConfig, trial: TrialRecord, folder: Path) -> None:
    """Set the status of an ended trial's run and the tags ``sweep.state`` and ``sweep.reason``; may be repeated."""
    run_id = trial.run_id or runs.read_run_id(folder / RUN_FILE)
    if run_id is None:  # the trial ended before it had a run
        return
    if trial.state == STOPPED and (last := repair_log(folder / "train" / LOG)):  # it had no time to send its last point
        metrics = {key: value for key, value in last.items() if key not in ("clips_seen", "seconds", "seconds_left")}
        runs.log_metrics(config, run_id, metrics, int(last["clips_seen"]))
    tags = {"sweep.state": trial.state, **({"sweep.reason": trial.reason[:500]} if trial.reason else {})}
    runs.set_tags(config, run_id, tags)
    runs.finish_run(config, run_id, STATUS[trial.state])
