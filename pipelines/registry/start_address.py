"""``training.start_from``: the address of any model -> the weights that a run begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from digan import class_names
from digan.errors import UserError
from digan.models.config import NetworkConfig
from digan.training import checkpoint, start_weights
from digan.training.checkpoint import FolderStore
from digan.training.start_weights import StartWeights
from pipelines.registry.model_address import generator_folder
from pipelines.storage.file_io import local
from pipelines.tracking.store import TrackingConfig

CHECKPOINTS = "checkpoints"


def load(address: str, tracking: TrackingConfig, model: NetworkConfig, classes: Sequence[str]) -> StartWeights:
    """Load the weights at ``address``: a checkpoint, a folder of them, a run's folder (its newest checkpoint), or what
    ``generator_folder`` accepts. Errors: ``UserError`` if there are none, or if they do not fit networks
    ``model`` and ``classes``.
    """
    key = f"training.start_from={address}"
    try:
        found = _checkpoint(local(address)) if "://" not in address and not address.startswith("models:") else None
        weights = found or start_weights.of_generator(generator_folder(address, tracking))
    except UserError as error:
        text = str(error).removeprefix("--model ").removeprefix(f"{address}: ")
        raise UserError(f"{key}: {text}") from error
    except ValueError as error:
        raise UserError(f"{key}: its checkpoint is damaged ({error}); choose another one") from error
    if differences := weights.differences(model, classes):
        raise UserError(f"{key}: does not fit: {'; '.join(differences)}; make them equal, or start from another model")
    return weights


def _checkpoint(path: Path) -> StartWeights | None:
    """The weights of the checkpoint that ``path`` is, or of the newest intact one in it; ``None`` if there is none.

    Errors: ``ValueError`` if all are damaged.
    """
    if (path / checkpoint.MANIFEST).is_file():
        return _of_run(path.absolute().parent, path.absolute().name)
    for folder in (path, path / CHECKPOINTS):
        if names := checkpoint.listed(FolderStore(folder)):
            newest = checkpoint.newest(FolderStore(folder))
            return _of_run(folder.absolute(), newest[0] if newest else names[0])
    return None


def _of_run(checkpoints: Path, name: str) -> StartWeights:
    """The weights of a checkpoint, with the names of classes that the run's generator has."""
    weights = start_weights.of_checkpoint(FolderStore(checkpoints), name)
    classes = class_names.read(checkpoints.parent / "initial_generator", weights.model.classes)
    return replace(weights, classes=tuple(classes))
