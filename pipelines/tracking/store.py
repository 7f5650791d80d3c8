"""The MLflow store: address, client and errors."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digan.errors import UserError

DEFAULT_STORE = "mlflow.db"
DEFAULT_ARTIFACTS = "mlartifacts"
# Error codes of a store that cannot be used, or of a server other than MLflow's.
UNUSABLE = {"TEMPORARILY_UNAVAILABLE", "ENDPOINT_NOT_FOUND"}
UNUSABLE |= {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}

_clients: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Section ``tracking``: address of the store (empty: $MLFLOW_TRACKING_URI, else SQLite here), experiment name."""

    uri: str
    experiment: str

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise UserError('tracking.experiment="": must be a name; try digan')


def resolved(config: TrackingConfig, folder: Path | None = None) -> TrackingConfig:
    """Return ``config`` with an absolute address: its own, $MLFLOW_TRACKING_URI, or SQLite in ``folder``."""
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        uri = f"sqlite:///{_project_folder(folder or Path.cwd()) / DEFAULT_STORE}"
    elif uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    return replace(config, uri=uri)


def _project_folder(folder: Path) -> Path:
    """Return ``folder``, or the repository if ``folder`` is a temporary copy made by `dvc exp run --queue`."""
    folder = folder.resolve()
    return next((p.parents[2] for p in folder.parents if p.parts[-3:] == (".dvc", "tmp", "exps")), folder)


def client(config: TrackingConfig) -> Any:
    """Return the process's ``MlflowClient`` for this store. Errors: ``UserError`` if the store cannot be read."""
    uri = resolved(config).uri
    if uri not in _clients:
        quiet_mlflow()
        from mlflow import MlflowClient

        try:
            opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
            opened.search_experiments(max_results=1)  # the first request to a server
        except Exception as error:  # scheme, driver, server, database or schema
            raise _unusable(uri, error) from error
        _clients[uri] = opened
    return _clients[uri]


def quiet_mlflow() -> None:
    """Silence MLflow's migrations and usage telemetry, and limit its retries to a few seconds."""
    defaults = dict.fromkeys(
        ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"), "true"
    )
    defaults |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    os.environ.update({name: value for name, value in defaults.items() if name not in os.environ})
    import mlflow  # noqa: F401 - configures these loggers

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Raise a ``UserError`` for errors that mean "this store cannot be used"; let other errors pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not _is_unusable(error):
            raise
        raise _unusable(uri, error) from error


def _is_unusable(error: BaseException | None) -> bool:
    """Return whether the error is, or was caused by, a failed request or an unusable store."""
    from requests.exceptions import RequestException

    if error is None:
        return False
    if isinstance(error, RequestException) or getattr(error, "error_code", None) in UNUSABLE:
        return True
    return _is_unusable(error.__cause__ or (None if error.__suppress_context__ else error.__context__))


def _unusable(uri: str, error: Exception) -> UserError:
    cause = textwrap.shorten(str(error), 240, placeholder="...")
    remedy = "start the server, or correct tracking.uri or $MLFLOW_TRACKING_URI, or leave both empty to use SQLite"
    return UserError(f"tracking.uri={uri}: this MLflow store cannot be used ({cause}); {remedy}")


def find(get: Callable[..., Any], *key: str) -> Any | None:
    """Return ``get(*key)``, or ``None`` if it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return get(*key)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def experiment_id(config: TrackingConfig) -> str:
    """Return the id of the experiment, creating it if it does not exist."""
    from mlflow.exceptions import MlflowException

    mlflow = client(config)
    database = config.uri.removeprefix("sqlite:///")  # artifacts are stored next to it; a server chooses its own root
    artifacts = (Path(database).parent / DEFAULT_ARTIFACTS).as_uri() if database != config.uri else None
    found = mlflow.get_experiment_by_name(config.experiment)
    if found is None:
        try:
            return mlflow.create_experiment(config.experiment, artifact_location=artifacts)
        except MlflowException:
            found = mlflow.get_experiment_by_name(config.experiment)  # created by another process
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise UserError(
            f"tracking.experiment={config.experiment}: deleted in MLflow; run `{restore}` or choose another name"
        )
    return found.experiment_id
