"""Checkpoints of a training: the whole state in a folder named by the clips seen, with a checksum, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch

from digan.checkpointing import write_folder
from digan.training.state import TrainingState

STATE = "state.pt"
MANIFEST = "manifest.json"
FORMAT = 1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(state: TrainingState, folder: Path, *, keep: int) -> Path:
    """Writes ``folder``/CLIPS_SEEN and removes all but the newest ``keep``; returns the new one's path."""

    def fill(work: Path) -> None:
        torch.save(state.state_dict(), work / STATE)
        manifest = {
            "format": FORMAT,
            "clips_seen": state.clips_seen,
            "model": state.model.to_json(),
            "sha256": {STATE: _sha256(work / STATE)},
        }
        (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")

    path = Path(folder) / f"{state.clips_seen:010d}"
    write_folder(path, fill)
    for old in _found(folder)[keep:]:
        shutil.rmtree(old)
    return path


def _found(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, newest first."""
    if not Path(folder).is_dir():
        return []
    return sorted((p for p in Path(folder).iterdir() if p.name.isdigit()), key=lambda p: int(p.name), reverse=True)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or ``None`` for a whole one."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            return f"format {manifest['format']}, this version reads {FORMAT}"
        if manifest["sha256"][STATE] != _sha256(path / STATE):
            return f"{STATE} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint; damaged ones before it are named on stderr and passed over."""
    for path in _found(folder):
        reason = damage(path)
        if reason is None:
            return path
        print(f"checkpoint {path} is damaged ({reason}); using the one before it", file=sys.stderr)
    return None


def load(state: TrainingState, path: Path) -> None:
    """Puts the checkpoint at ``path`` into ``state``."""
    state.load_state_dict(torch.load(path / STATE, map_location=state.device, weights_only=True))
