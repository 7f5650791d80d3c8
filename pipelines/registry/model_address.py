"""Resolves a model address (a folder, or a version or alias in the MLflow registry) to a generator's folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from digan.errors import UserError
from pipelines.tracking.store import TrackingConfig, client, find, refusals, resolved

WEIGHTS, CONFIG = "weights.pt", "config.json"
_REGISTERED = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


def generator_folder(address: str, tracking: TrackingConfig) -> Path:
    """Return the local folder with ``weights.pt`` and ``config.json`` of a model, downloading them if needed.

    ``address`` is a generator's folder (or its parent), ``models:/NAME@alias`` or ``models:/NAME/version``.
    Errors: ``UserError`` if there is no such model.
    """
    if address.startswith("models:"):
        return _from_registry(address, tracking)
    if "://" in address:
        scheme = address.split("://", 1)[0]
        raise UserError(f"--model {address}: {scheme}:// addresses are not supported yet; copy the folder here first")
    path = Path(address)
    if not path.exists():
        raise UserError(f"--model {path}: no such folder; train first (`make demo`), or use models:/NAME@champion")
    for folder in (path, path / "generator"):
        if (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file():
            return folder
    raise UserError(f"--model {path}: holds no generator ({WEIGHTS} and {CONFIG}); try outputs/train/generator")


def _from_registry(address: str, tracking: TrackingConfig) -> Path:
    match = _REGISTERED.fullmatch(address)
    if match is None:
        raise UserError(f"--model {address}: must look like models:/NAME@champion or models:/NAME/3")
    tracking = resolved(tracking)
    database = tracking.uri.removeprefix("sqlite:///")
    if database != tracking.uri and not Path(database).is_file():
        remedy = "run from the folder that has it, or set tracking.uri"
        raise UserError(f"--model {address}: no MLflow store at {database}; {remedy}")
    source = _source(match, tracking)
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        with refusals(tracking.uri):
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=tracking.uri))
    except (MlflowException, OSError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"--model {address}: cannot download its files from {source} ({cause})") from error
    for weights in sorted(folder.glob(f"**/{WEIGHTS}")):
        if (weights.parent / CONFIG).is_file():
            return weights.parent
    raise UserError(f"--model {address}: not a generator of this project (no {WEIGHTS} in it)")


def _source(match: re.Match[str], tracking: TrackingConfig) -> str:
    """Return the address of the files of a version."""
    name, alias, version = match["name"], match["alias"], match["version"]
    mlflow = client(tracking)
    with refusals(tracking.uri):
        model = find(mlflow.get_registered_model, name)
        if model is None:
            names = sorted(m.name for m in mlflow.search_registered_models(max_results=20))
            raise UserError(f"--model {match[0]}: no model {name} in {tracking.uri}; it has {_listed(names)}")
        if alias is not None:
            version = model.aliases.get(alias)
        if version is None:
            known = _listed(f"@{a} (version {v})" for a, v in sorted(model.aliases.items()))
            raise UserError(f"--model {match[0]}: {name} has no alias {alias}; it has {known}")
        found = find(mlflow.get_model_version, name, version)
        if found is None:
            known = _listed(str(v.version) for v in mlflow.search_model_versions(f"name='{name}'"))
            raise UserError(f"--model {match[0]}: {name} has no version {version}; it has {known}")
        return found.source


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
