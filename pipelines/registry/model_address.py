"""Resolves a model address (a folder, or a version or alias in the MLflow registry) to a generator's folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from digan.errors import UserError
from pipelines.registry.alias_decision import CHALLENGER, CHAMPION
from pipelines.storage.file_io import local
from pipelines.tracking.moved_artifacts import ArtifactsMovedError, beside
from pipelines.tracking.sqlite_address import database_of
from pipelines.tracking.store import TrackingConfig, client, find, refusals, resolved

WEIGHTS, CONFIG = "weights.pt", "config.json"
_REGISTERED = re.compile(r"models:/([^@/]+)(?:@([^@/]+)|/(\d+))")  # name, then alias or version


def generator_folder(address: str, tracking: TrackingConfig) -> Path:
    """Return the local folder with ``weights.pt`` and ``config.json`` of a model, downloading them if needed.

    ``address`` is a generator's folder (or its parent), ``models:/NAME@alias`` or ``models:/NAME/version``.
    Errors: ``UserError`` if there is no such model.
    """
    path = local(address)
    if address.startswith("models:"):
        files = _download(address, resolved(tracking))
        folders = [weights.parent for weights in sorted(files.rglob(WEIGHTS))]
        problem = f"not a generator of this project (no {WEIGHTS} in it)"
    elif "://" in address:
        scheme = address.partition("://")[0]
        raise UserError(f"--model {address}: {scheme}:// addresses are not supported yet; copy the folder here first")
    elif not path.exists():
        raise UserError(f"--model {path}: no such folder; train first (`make demo`), or use models:/NAME@champion")
    else:
        folders = [path, path / "generator"]
        problem = f"holds no generator ({WEIGHTS} and {CONFIG}); try outputs/train/generator"
    for folder in folders:
        if (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file():
            return folder
    raise UserError(f"--model {address}: {problem}")


def _download(address: str, tracking: TrackingConfig) -> Path:
    """Return a local folder with the files of a registered version."""
    match = _REGISTERED.fullmatch(address)
    if match is None:
        raise UserError(f"--model {address}: must look like models:/NAME@champion or models:/NAME/3")
    database = database_of(tracking.uri)
    if database is not None and not database.is_file():
        remedy = "run from the folder that has it, or set tracking.uri"
        raise UserError(f"--model {address}: no MLflow store at {database}; {remedy}")
    with refusals(tracking.uri):
        source = _source(match, tracking)
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        with refusals(tracking.uri):
            source = beside(source, database)
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=tracking.uri))
    except ArtifactsMovedError as error:
        raise UserError(f"--model {address}: {error}") from error
    except (MlflowException, OSError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"--model {address}: cannot download its files from {source} ({cause})") from error


def _source(match: re.Match[str], tracking: TrackingConfig) -> str:
    """Return the address of the files of a version."""

    def missing(what: str, known: Iterable[str]) -> UserError:
        return UserError(f"--model {match[0]}: {what}; it has {', '.join(known) or 'none'}")

    name, alias, version = match.groups()
    mlflow = client(tracking)
    model = find(mlflow.get_registered_model, name)
    if model is None:
        names = sorted(m.name for m in mlflow.search_registered_models(max_results=20))
        raise missing(f"no model {name} in {tracking.uri}", names)
    if alias == CHAMPION and CHALLENGER in model.aliases and alias not in model.aliases:
        raise UserError(
            f"--model {match[0]}: {name} has no champion yet; try models:/{name}@{CHALLENGER} (version"
            f" {model.aliases[CHALLENGER]}), or set the alias {CHAMPION} in the MLflow UI"
        )
    if alias is not None and alias not in model.aliases:
        raise missing(f"{name} has no alias {alias}", (f"@{a} (version {v})" for a, v in sorted(model.aliases.items())))
    found = find(mlflow.get_model_version, name, version or model.aliases[alias])
    if found is None:
        versions = mlflow.search_model_versions(f"name='{name}'")
        raise missing(f"{name} has no version {version}", (str(v.version) for v in versions))
    return found.source
