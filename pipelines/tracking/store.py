"""The MLflow store: its address, its client, and what is said when it cannot be used."""

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
# Codes with which a store, or a server that is no MLflow server, refuses any request.
REFUSALS = {
    "TEMPORARILY_UNAVAILABLE",
    "ENDPOINT_NOT_FOUND",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "PERMISSION_DENIED",
}

_clients: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """``uri`` is the address of the MLflow store (empty: $MLFLOW_TRACKING_URI, else SQLite in this folder);
    ``experiment`` is the name of the experiment that holds the runs.
    """

    uri: str
    experiment: str

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise UserError('tracking.experiment="": must be a name; try digan')


def resolved(config: TrackingConfig, folder: Path | None = None) -> TrackingConfig:
    """Return the configuration with an absolute address: from params.yaml, $MLFLOW_TRACKING_URI or SQLite in
    ``folder``.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        uri = f"sqlite:///{_home(folder or Path.cwd()) / DEFAULT_STORE}"
    elif uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    return replace(config, uri=uri)


def _home(folder: Path) -> Path:
    """Return ``folder``, or the repository if ``folder`` is a temporary copy made by `dvc exp run --queue`."""
    whole = folder.resolve()
    for parent in whole.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return whole


def client(config: TrackingConfig) -> Any:
    """Return the ``MlflowClient`` of this configuration, one per process and address.

    Errors: ``UserError`` if the store cannot be opened and read.
    """
    uri = resolved(config).uri
    if uri not in _clients:
        quiet_mlflow()
        from mlflow import MlflowClient

        try:
            opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
            opened.search_experiments(max_results=1)  # a server is first asked here
        except Exception as error:  # wrong scheme, missing driver, no server, no database, old schema
            raise _unusable(uri, error) from error
        _clients[uri] = opened
    return _clients[uri]


def quiet_mlflow() -> None:
    """Silence MLflow's migrations and usage telemetry, and limit its retries to a few seconds."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow  # noqa: F401 - configures these loggers

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Turn errors that mean "this store cannot be used" into a ``UserError``; other errors pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not _is_refusal(error):
            raise
        raise _unusable(uri, error) from error


def _is_refusal(error: BaseException) -> bool:
    """Whether a failed request or a refusing store is the error or led to it."""
    from requests.exceptions import RequestException

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, RequestException) or getattr(link, "error_code", None) in REFUSALS:
            return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False


def _unusable(uri: str, error: Exception) -> UserError:
    cause = textwrap.shorten(str(error), 240, placeholder="...")
    return UserError(
        f"tracking.uri={uri}: this MLflow store cannot be used ({cause}); start the server, or correct tracking.uri "
        f"or $MLFLOW_TRACKING_URI, or leave both empty for SQLite in this folder"
    )


def find(get: Callable[..., Any], *key: str) -> Any | None:
    """Return ``get(*key)``, or ``None`` if MLflow has nothing with this key."""
    from mlflow.exceptions import MlflowException

    try:
        return get(*key)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def experiment_id(config: TrackingConfig) -> str:
    """Return the experiment's id, creating the experiment if there is none."""
    from mlflow.exceptions import MlflowException

    mlflow = client(config)
    found = mlflow.get_experiment_by_name(config.experiment)
    if found is None:
        try:
            return mlflow.create_experiment(config.experiment, artifact_location=_artifact_root(config))
        except MlflowException:
            found = mlflow.get_experiment_by_name(config.experiment)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment={config.experiment}: was deleted in MLflow; restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or choose another name"
        )
    return found.experiment_id


def _artifact_root(config: TrackingConfig) -> str | None:
    """Return the address of a folder beside a SQLite store; a server has a root of its own."""
    if not config.uri.startswith("sqlite:///"):
        return None
    return (Path(config.uri.removeprefix("sqlite:///")).parent / DEFAULT_ARTIFACTS).as_uri()
