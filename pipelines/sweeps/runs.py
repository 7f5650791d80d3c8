"""A sweep in MLflow: one parent run, one child run a trial, found again by their tags, so that none comes twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.services import tracking
from pipelines.services.origin import write_json
from pipelines.services.tracking import TrackingConfig

SWEEP_ID, TRIAL, PARENT = "sweep.id", "sweep.trial", "mlflow.parentRunId"
STATE, REASON = "sweep.state", "sweep.reason"
QUICK = "quick"  # the metric is quick/<measure>, in trials and trainings alike
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def ensure(
    config: TrackingConfig, identity: Mapping[str, str], name: str, run_file: Path, tags: Mapping[str, str]
) -> str:
    """The run with the tags ``identity``, made with them in one request where there is none; ``run_file`` names it.

    A driver that is killed between making a run and writing its id down finds it by the tags.
    """
    config = tracking.resolved(config)
    client = tracking.client(config)
    with tracking.refusals(config.uri):
        experiment = tracking.experiment_id(config)
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
        found = client.search_runs([experiment], filter_string=wanted, max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            run_id = client.create_run(
                experiment, run_name=name, tags={**tracking.user_tags(), **tags, **identity}
            ).info.run_id
    content = {"run_id": run_id, "experiment_id": experiment, "tracking_uri": config.uri}
    if not run_file.is_file() or json.loads(run_file.read_text()) != content:
        write_json(run_file, content)
    return str(run_id)


def top_up(config: TrackingConfig, run_id: str, log: Path) -> None:
    """The last point of a training's log, which a stopped trial had no time to send."""
    lines = log.read_bytes().splitlines() if log.is_file() else []
    if lines:
        last = json.loads(lines[-1])
        clips = int(last.pop("clips_seen"))
        shown = {key: value for key, value in last.items() if key not in ("seconds", "seconds_left")}
        tracking.log_metrics(config, run_id, shown, clips)


def end(config: TrackingConfig, run_id: str, state: str, reason: str) -> None:
    """Say how a trial ended: its status, and ``sweep.state`` and ``sweep.reason`` as tags."""
    tracking.set_tags(config, run_id, {STATE: state, REASON: reason[:500]} if reason else {STATE: state})
    tracking.finish_run(config, run_id, STATUS[state])
