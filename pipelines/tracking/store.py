"""The MLflow store: address, client and errors."""

from __future__ import annotations

import logging
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from digan.errors import UserError
from digan.redaction import redacted
from pipelines.storage.file_io import local
from pipelines.tracking import sqlite_address
from pipelines.tracking.moved_artifacts import DEFAULT_ARTIFACTS, ArtifactsMovedError, beside

DEFAULT_STORE = "mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
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
    uri = config.uri or os.environ.get(VARIABLE, "")
    if not uri:
        here = (folder or Path.cwd()).resolve()
        copies = (p for p in here.parents if p.parts[-3:] == (".dvc", "tmp", "exps"))  # of `dvc exp run --queue`
        project = next((p.parents[2] for p in copies), here)
        uri = sqlite_address.address_of(project / DEFAULT_STORE)
    _check_kind(uri)
    return replace(config, uri=sqlite_address.absolute(uri))


def _check_kind(uri: str) -> None:
    """Reject a folder as a store, which MLflow has given up."""
    scheme = re.match(r"([A-Za-z][\w+.-]*):", uri)
    if (scheme is None and uri not in ("databricks", "uc")) or (scheme and scheme[1].lower() == "file"):
        folder = url2pathname(urlsplit(uri).path) if scheme else uri
        instead = sqlite_address.address_of(local(folder).absolute() / DEFAULT_STORE)
        raise UserError(f"{_key(uri)}={uri}: a folder is no store of MLflow any more; use {instead}")


def _key(uri: str) -> str:
    """Where ``uri`` comes from: the environment or params.yaml."""
    value = os.environ.get(VARIABLE, "")
    return VARIABLE if value and uri in (value, sqlite_address.absolute(value)) else "tracking.uri"


def client(config: TrackingConfig) -> Any:
    """Return the process's ``MlflowClient`` for this store. Errors: ``UserError`` if the store cannot be read."""
    uri = resolved(config).uri
    if uri not in _clients:
        if (database := sqlite_address.database_of(uri)) is not None:
            sqlite_address.check_folder(database, Path.cwd())
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
    return UserError(f"{_key(uri)}={uri}: this MLflow store cannot be used ({cause}); {remedy}")


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
    database = sqlite_address.database_of(config.uri)  # artifacts are stored next to it; a server chooses its own root
    artifacts = (database.parent / DEFAULT_ARTIFACTS).as_uri() if database else None
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
    if database is None or is_own(config, found.artifact_location):
        return found.experiment_id
    own = f"{config.experiment} ({database.parent})"  # MLflow cannot change the place of an experiment
    if not config.experiment.endswith(f" ({database.parent})"):
        text = "tracking.experiment=%s: keeps its artifacts in %s, where this store was before; new runs are in the experiment %s"
        logging.getLogger(__name__).warning(text, config.experiment, found.artifact_location, own)
        return experiment_id(replace(config, experiment=own))
    return found.experiment_id


def is_own(config: TrackingConfig, address: str) -> bool:
    """Whether artifacts written to ``address`` are this store's: not in the place from which it was moved or copied."""
    try:
        return beside(address, sqlite_address.database_of(config.uri)) == address
    except ArtifactsMovedError:
        return False
