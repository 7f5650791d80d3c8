"""MLflow runs: one per training, opened by the driver, with at most one point per metric and step.

No run is active in the process: functions take the ``TrackingConfig`` and a run id, so that other machines can log to
the same run. Pass them ``resolved(config)``, since their working directory differs from the driver's.
"""

from __future__ import annotations

import getpass
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from digan.redaction import redacted
from pipelines.params_file import flatten
from pipelines.tracking.store import TrackingConfig, client, experiment_id, find, is_own, refusals, resolved

logger = logging.getLogger(__name__)
_last_steps: dict[tuple[str, str, str], int] = {}  # (store, run, metric) -> last step, read once per process


def open_run(
    config: TrackingConfig,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    run_file: Path | None = None,
    *,
    identity: Mapping[str, str] | None = None,
) -> str:
    """Reopen the run named in ``run_file`` or with the tags ``identity``, or start one; write its id to the file and return it.

    Nested ``params`` are logged by dotted name. MLflow's parameters are final, so a resumed run gets a changed value as
    the tag ``changed.<name>``. Errors: ``UserError`` if the store cannot be used.
    """
    from mlflow.entities import Param, RunTag

    config = resolved(config)
    mlflow = client(config)
    with refusals(config.uri):
        experiment = experiment_id(config)
        run = _active_run(config, run_file)
        if run is None and identity:  # an earlier process may have been killed before it wrote the id
            wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
            run = next(iter(mlflow.search_runs([experiment], filter_string=wanted, max_results=1)), None)
        if run is None:
            name = tags.get("mlflow.runName") or tags.get("dvc.exp_name") or None
            run = mlflow.create_run(experiment, run_name=name, tags={**user_tags(), **(identity or {})})
        else:
            mlflow.update_run(run.info.run_id, status="RUNNING")
        run_id, present = str(run.info.run_id), run.data.params
        flat = {key: redacted(str(value)) for key, value in flatten(params).items()}
        new = [Param(key, value) for key, value in flat.items() if key not in present]
        changed = {f"changed.{key}": value for key, value in flat.items() if present.get(key, value) != value}
        mlflow.log_batch(
            run_id, params=new, tags=[RunTag(key, redacted(value)) for key, value in {**changed, **tags}.items()]
        )
    if run_file is not None:
        write_json(run_file, {"run_id": run_id, "experiment_id": experiment, "tracking_uri": redacted(config.uri)})
    return run_id


def read_run_id(run_file: Path) -> str | None:
    """Return the run id in a file that ``open_run`` wrote, or ``None`` if it is missing or damaged."""
    try:
        return str(json.loads(run_file.read_text())["run_id"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def read_experiment_id(run_file: Path) -> str | None:
    """Return the experiment's id in a file that ``open_run`` wrote, or ``None`` if it is missing or damaged."""
    try:
        return str(json.loads(run_file.read_text())["experiment_id"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def experiment_of(config: TrackingConfig, run_id: str | None) -> str | None:
    """Return the id of the run's experiment; ``None`` if there is no such run."""
    run = None if run_id is None else find(client(config).get_run, run_id)
    return None if run is None else str(run.info.experiment_id)


def _active_run(config: TrackingConfig, run_file: Path | None) -> Any | None:
    """Return the run named in ``run_file`` unless it was deleted or writes to the place from which the store was copied."""
    run_id = None if run_file is None else read_run_id(run_file)
    run = None if run_id is None else find(client(config).get_run, run_id)
    is_usable = run is not None and run.info.lifecycle_stage == "active" and is_own(config, run.info.artifact_uri)
    return run if is_usable else None


def writable_run(config: TrackingConfig, run_id: str, name: str) -> str:
    """Return the run, or one with ``name`` and the tag ``trained_in`` if this store lacks it or it writes to another place."""
    config = resolved(config)
    run = find(client(config).get_run, run_id)
    if run is not None and is_own(config, run.info.artifact_uri):
        return run_id
    own = open_run(config, {}, {"mlflow.runName": name}, identity={"trained_in": run_id})
    finish_run(config, own)
    return own


def log_metrics(config: TrackingConfig, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Log one point per metric at ``step`` (clips seen), except metrics that have a point at this step or a later one.

    A run resumed from an older checkpoint thus logs no step twice.
    """
    config = resolved(config)
    mlflow, new = client(config), {}
    for name, value in metrics.items():
        key = (config.uri, run_id, name)
        if key not in _last_steps:
            _last_steps[key] = max((point.step for point in mlflow.get_metric_history(run_id, name)), default=-1)
        if step > _last_steps[key]:
            new[name] = value
    _log_points(mlflow, run_id, new, step)
    _last_steps.update({(config.uri, run_id, name): step for name in new})


def log_evaluation(config: TrackingConfig, run_id: str, metrics: Mapping[str, float], *, step: int) -> None:
    """Log the metrics of an evaluation at ``step``: only values that differ from the latest ones, also at the same step."""
    mlflow = client(config)
    present = mlflow.get_run(run_id).data.metrics
    new = {key: value for key, value in metrics.items() if repr(present.get(key)) != repr(float(value))}
    _log_points(mlflow, run_id, new, step)


def _log_points(mlflow: Any, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    from mlflow.entities import Metric

    milliseconds = int(time.time() * 1000)
    mlflow.log_batch(run_id, metrics=[Metric(key, float(value), milliseconds, step) for key, value in metrics.items()])


def set_tags(config: TrackingConfig, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, replacing tags of the same name."""
    from mlflow.entities import RunTag

    client(config).log_batch(run_id, tags=[RunTag(key, redacted(value)) for key, value in tags.items()])


def finish_run(config: TrackingConfig, run_id: str, status: str = "FINISHED") -> None:
    """Set a run's status: ``FINISHED``, ``FAILED`` or ``KILLED`` (interrupted, can be resumed)."""
    client(config).set_terminated(run_id, status=status)


@contextmanager
def status_at_end(config: TrackingConfig, run_id: str) -> Iterator[None]:
    """Set a run's status when the block ends; a store that rejects it is only worth a warning."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        try:
            finish_run(config, run_id, status)
        except Exception as error:
            logger.warning("could not set the status of the MLflow run to %s (%s)", status, type(error).__name__)


def user_tags() -> dict[str, str]:
    """Return MLflow's standard tags for the user and the source of a run."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "pipelines.train", "mlflow.source.type": "LOCAL"}
