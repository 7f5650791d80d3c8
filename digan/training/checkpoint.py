"""Training checkpoints: the whole training state, named by clips seen, checksummed and written atomically.

They are kept in a ``CheckpointStore``: a local folder (``FolderStore``), or anything that stores a few files by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch

from digan.atomic import is_part
from digan.generator_io import write_folder
from digan.models.config import NetworkConfig
from digan.training.state import TrainingState

logger = logging.getLogger(__name__)

STATE = "state.pt"
MANIFEST = "manifest.json"
FORMAT = 2


class CheckpointStore(Protocol):
    """Sets of files by name, written atomically: a name is listed once all its files are there."""

    def names(self) -> list[str]:
        """All names, in any order."""

    def write(self, name: str, files: dict[str, bytes]) -> None:
        """Store ``files`` under ``name``, replacing older ones; the last of ``files`` marks the set as complete."""

    def read(self, name: str, file: str) -> bytes:
        """The content of one file; raises ``OSError`` if it is missing."""

    def remove(self, name: str) -> None:
        """Remove a name, if it exists."""


class FolderStore:
    """A checkpoint store in a local folder, one subfolder per name."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def __str__(self) -> str:
        return str(self.folder)

    def names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []

    def write(self, name: str, files: dict[str, bytes]) -> None:
        write_folder(self.folder / name, files)

    def read(self, name: str, file: str) -> bytes:
        return (self.folder / name / file).read_bytes()

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove_unfinished(self) -> None:
        """Remove what killed writers left behind; call it from the only writer."""
        for path in self.folder.glob(".*") if self.folder.is_dir() else ():
            if is_part(path.name) or "-" in path.name:  # "-": older releases
                shutil.rmtree(path, ignore_errors=True)


def name_of(clips_seen: int) -> str:
    """The name of the checkpoint at ``clips_seen`` clips."""
    return f"{clips_seen:010d}"


def capture(state: TrainingState) -> dict[str, Any]:
    """Copy ``state.state_dict()`` to the CPU, to be written while training continues."""
    copied: dict[str, Any] = _copy(state.state_dict())
    return copied


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value)
    return value


def write(captured: dict[str, Any], store: CheckpointStore, *, model: NetworkConfig, keep: int) -> str:
    """Write what ``capture`` returned, remove all but the newest ``keep`` checkpoints, and return the new one's name."""
    name = name_of(captured["clips_seen"])
    store.write(name, files_of(captured, model))
    for old in listed(store)[keep:]:
        store.remove(old)
    return name


def files_of(captured: dict[str, Any], model: NetworkConfig) -> dict[str, bytes]:
    """The files of a captured state, name -> content; the last one is the manifest."""
    memory = io.BytesIO()
    torch.save(captured, memory)
    data = memory.getvalue()
    manifest = {
        "format": FORMAT,
        "clips_seen": captured["clips_seen"],
        "model": model.to_json(),
        "sha256": {STATE: hashlib.sha256(data).hexdigest()},
    }
    return {STATE: data, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}


def model_of(store: CheckpointStore, name: str) -> NetworkConfig:
    """The sizes of the networks in a checkpoint; raises ``ValueError`` if it is damaged."""
    try:
        return NetworkConfig(**json.loads(store.read(name, MANIFEST))["model"])
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def listed(store: CheckpointStore) -> list[str]:
    """The checkpoints in ``store``, newest first."""
    return sorted((name for name in store.names() if name.isdigit()), key=int, reverse=True)


def read(store: CheckpointStore, name: str) -> dict[str, Any]:
    """Read a captured state and verify its checksum; raises ``ValueError`` if the checkpoint is damaged."""
    try:
        manifest = json.loads(store.read(name, MANIFEST))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}; this version reads format {FORMAT}")
        data = store.read(name, STATE)
        if manifest["sha256"][STATE] != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{STATE} does not match its checksum")
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def newest(store: CheckpointStore, *, before: int | None = None) -> tuple[str, dict[str, Any]] | None:
    """Name and state of the newest intact checkpoint, of at most ``before`` clips; warns of damaged ones and skips them."""
    for name in listed(store):
        if before is not None and int(name) > before:
            continue
        try:
            return name, read(store, name)
        except ValueError as reason:
            logger.warning("checkpoint %s in %s is damaged (%s); trying the previous one", name, store, reason)
    return None
