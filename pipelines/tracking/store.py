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
from digan.redaction import redacted

DEFAULT_STORE = "mlflow.db"
DEFAULT_ARTIFACTS = "mlartifacts"
# Error codes of a store that cannot be used, or of a server other than MLflow's.
UNUSABLE = {"TEMPORARILY_UNAVAILABLE", "ENDPOINT_NOT_FOUND"}
UNUSABLE |= {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
# MLflow's settings: no usage telemetry, and retries for only a few seconds.
SETTINGS = dict.fromkeys(("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"), "true")
SETTINGS |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_LOGGING_LEVEL": "WARNING"}
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
        here = (folder or Path.cwd()).resolve()
        copies = (p for p in here.parents if p.parts[-3:] == (".dvc", "tmp", "exps"))  # of `dvc exp run --queue`
        project = next((p.parents[2] for p in copies), here)
        uri = f"sqlite:///{project / DEFAULT_STORE}"
    elif uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    return replace(config, uri=uri)


def client(config: TrackingConfig) -> Any:
    """Return the process's ``MlflowClient`` for this store. Errors: ``UserError`` if the store cannot be read."""
    uri = resolved(config).uri
    if uri not in _clients:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("alembic", "mlflow"):  # after the import, which configures them to log every migration
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
            opened.search_experiments(max_results=1)  # the first request to a server
        except Exception as error:  # scheme, driver, server, database or schema
            raise _unusable(uri, error) from error
        _clients[uri] = opened
    return _clients[uri]


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Raise a ``UserError`` for errors that mean "this store cannot be used"; let other errors pass."""
    from requests.exceptions import RequestException

    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:  # the error or what caused it
            if isinstance(cause, RequestException) or getattr(cause, "error_code", None) in UNUSABLE:
                raise _unusable(uri, error) from error
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        raise


def _unusable(uri: str, error: Exception) -> UserError:
    cause = textwrap.shorten(redacted(str(error)), 240, placeholder="...")
    remedy = "start the server, or correct tracking.uri or $MLFLOW_TRACKING_URI, or leave both empty to use SQLite"
    return UserError(f"tracking.uri={uri}: this MLflow store cannot be used ({cause}); {remedy}")


@contextmanager
def suppressed(code: str) -> Iterator[None]:
    """Suppress MLflow's errors with this error code, as ``contextlib.suppress`` does."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def find(get: Callable[..., Any], *key: str) -> Any | None:
    """Return ``get(*key)``, or ``None`` if it does not exist."""
    with suppressed("RESOURCE_DOES_NOT_EXIST"):
        return get(*key)
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
        problem = f"tracking.experiment={config.experiment}: deleted in MLflow"
        raise UserError(f"{problem}; run `{restore}` or choose another name")
    return found.experiment_id
