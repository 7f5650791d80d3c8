"""MLflow: one run per training, opened by the driver, joined by id from anywhere, never with the same point twice.

Every function takes the ``TrackingConfig`` and a run id; there is no active run and no global state, so that a worker
in another process or on another machine can log as well. Hand such a worker ``resolved(config)``: its folder is not the
driver's.
"""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from digan.errors import UserError

DEFAULT_STORE = "mlflow.db"
DEFAULT_ARTIFACTS = "mlartifacts"
POINTS_A_REQUEST = 1000
PARAMETERS_A_REQUEST = 100

# (store, run, metric) -> the last step in the store; asked for once a process and metric.
_last_steps: dict[tuple[str, str, str], int] = {}
_clients: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """``uri`` of the MLflow store, empty for $MLFLOW_TRACKING_URI or else SQLite here; ``experiment`` holds the
    runs.
    """

    uri: str
    experiment: str

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise UserError('tracking.experiment="": must be a name; try digan')


def resolved(config: TrackingConfig, folder: Path | None = None) -> TrackingConfig:
    """The same configuration with the address in full: params.yaml, else $MLFLOW_TRACKING_URI, else SQLite in
    ``folder``.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        uri = f"sqlite:///{_home(folder or Path.cwd()) / DEFAULT_STORE}"
    elif uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    return replace(config, uri=uri)


def _home(folder: Path) -> Path:
    """The folder itself, or the repository where ``folder`` is a copy that `dvc exp run --queue` works in and then
    deletes.
    """
    whole = folder.resolve()
    for parent in whole.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return whole


def client(config: TrackingConfig) -> Any:
    """The quiet ``MlflowClient`` of this configuration, one a process and address."""
    uri = resolved(config).uri
    if uri not in _clients:
        with refusals(uri):
            hush()
            from mlflow import MlflowClient

            _clients[uri] = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return _clients[uri]


def hush() -> None:
    """Silence MLflow's migrations and its usage telemetry, and give up on an unreachable server within seconds."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


def open_run(
    config: TrackingConfig,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    run_file: Path | None,
    *,
    fresh: bool = False,
) -> str:
    """The id of the run that ``run_file`` names, taken up again, or of a new one, which the file (if any) names from
    now on.

    ``params`` may be nested; names become those of params.yaml (``training.r1_gamma``). MLflow's parameters cannot be
    changed: where a resumed run has another value the old one stays and a tag ``changed.<name>`` tells the new one.
    ``fresh`` starts a new run in any case (the training starts over). Errors: ``UserError`` where the store cannot be
    reached.
    """
    config = resolved(config)
    mlflow = client(config)
    with refusals(config.uri):
        experiment = experiment_id(config)
        run_id = None if fresh or run_file is None else _known_run(config, run_file)
        if run_id is None:
            run_id = mlflow.create_run(
                experiment, run_name=tags.get("dvc.exp_name") or None, tags=user_tags()
            ).info.run_id
        else:
            mlflow.update_run(run_id, status="RUNNING")
        _log_params(mlflow, run_id, flatten(params))
        for key, value in tags.items():
            mlflow.set_tag(run_id, key, value)
    if run_file is not None:
        write_json(run_file, {"run_id": run_id, "experiment_id": experiment, "tracking_uri": config.uri})
    return run_id


def log_metrics(config: TrackingConfig, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """One point a metric at ``step`` (clips seen). A point at or before the last one in the store is left out.

    So a run that goes on from an older checkpoint repeats no step: what it computes again was logged the first time.
    """
    config = resolved(config)
    mlflow = client(config)
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [Metric(k, float(v), now, step) for k, v in metrics.items() if step > _last_step(config, run_id, k)]
    for start in range(0, len(points), POINTS_A_REQUEST):
        mlflow.log_batch(run_id, metrics=points[start : start + POINTS_A_REQUEST])
    for point in points:
        _last_steps[config.uri, run_id, point.key] = step


def log_evaluation(
    config: TrackingConfig,
    run_id: str,
    metrics: Mapping[str, float],
    artifacts: Path | None = None,
    *,
    step: int = 0,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Figures of an evaluation at ``step``, and the file or folder ``artifacts`` under ``evaluation/``.

    An evaluation may be repeated with other settings: its newest figure is the one shown; an equal one is not logged
    again.
    """
    mlflow = client(config)
    from mlflow.entities import Metric

    present = mlflow.get_run(run_id).data.metrics
    now = int(time.time() * 1000)
    points = [Metric(k, float(v), now, step) for k, v in metrics.items() if not _same(present.get(k), float(v))]
    if points:
        mlflow.log_batch(run_id, metrics=points)
    for key, value in (tags or {}).items():
        mlflow.set_tag(run_id, key, value)
    if artifacts is not None:
        log_artifact(config, run_id, artifacts, "evaluation")


def log_artifact(config: TrackingConfig, run_id: str, path: Path, folder: str | None = None) -> None:
    """Put a file, or what lies in a folder, into the run under ``folder``; equal names are replaced."""
    if Path(path).is_dir():
        client(config).log_artifacts(run_id, str(path), folder)
    else:
        client(config).log_artifact(run_id, str(path), folder)


def set_tags(config: TrackingConfig, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, replacing equal names."""
    for key, value in tags.items():
        client(config).set_tag(run_id, key, value)


def finish_run(config: TrackingConfig, run_id: str, status: str = "FINISHED") -> None:
    """End the run as ``FINISHED``, ``FAILED`` or ``KILLED`` (interrupted; it may be taken up again)."""
    client(config).set_terminated(run_id, status=status)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values under the dotted names of params.yaml, as text; an empty text stays empty."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Turn 'this store cannot be used' of MLflow and its libraries into one line; other errors pass."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())
        reachable = not any(
            word in text for word in ("Max retries", "Connection refused", "ConnectionError", "API request to")
        )
        readable = not any(word in text for word in ("unable to open database", "readonly database", "not a database"))
        usable = not any(
            word in text for word in ("Could not find a registered artifact", "unsupported URI", "No module named")
        )
        if reachable and readable and usable:
            raise
        cause = text if len(text) < 160 else text[:157] + "..."
        raise UserError(
            f"tracking.uri={uri}: this MLflow store cannot be used ({cause}); start the server, or mend tracking.uri "
            f"or $MLFLOW_TRACKING_URI, or leave both empty for SQLite in this folder"
        ) from error


def experiment_id(config: TrackingConfig) -> str:
    """The experiment's id; it is made where there is none yet."""
    mlflow = client(config)
    found = mlflow.get_experiment_by_name(config.experiment)
    if found is None:
        from mlflow.exceptions import MlflowException

        try:
            return mlflow.create_experiment(config.experiment, artifact_location=_artifact_root(config))
        except MlflowException:  # another process was quicker
            found = mlflow.get_experiment_by_name(config.experiment)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment={config.experiment}: was deleted in MLflow; restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or take another name"
        )
    return found.experiment_id


def _artifact_root(config: TrackingConfig) -> str | None:
    """A folder beside a SQLite store; a server has its own root."""
    if not config.uri.startswith("sqlite:///"):
        return None
    return (Path(config.uri.removeprefix("sqlite:///")).parent / DEFAULT_ARTIFACTS).as_uri()


def _known_run(config: TrackingConfig, run_file: Path) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        written = json.loads(run_file.read_text())
        run_id = str(written["run_id"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None
    try:
        run = client(config).get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run_id if run.info.lifecycle_stage == "active" else None


def _log_params(mlflow: Any, run_id: str, flat: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    present = mlflow.get_run(run_id).data.params
    new = [Param(key, value) for key, value in flat.items() if key not in present]
    for start in range(0, len(new), PARAMETERS_A_REQUEST):
        mlflow.log_batch(run_id, params=new[start : start + PARAMETERS_A_REQUEST])
    for key, value in flat.items():
        if key in present and present[key] != value:
            mlflow.set_tag(run_id, f"changed.{key}", value)


def _last_step(config: TrackingConfig, run_id: str, metric: str) -> int:
    key = (config.uri, run_id, metric)
    if key not in _last_steps:
        history = client(config).get_metric_history(run_id, metric)
        _last_steps[key] = max((point.step for point in history), default=-1)
    return _last_steps[key]


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


def user_tags() -> dict[str, str]:
    """Who starts a run, under MLflow's own names."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "pipelines.train", "mlflow.source.type": "LOCAL"}
