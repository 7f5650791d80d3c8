"""What a training folder was started with, and so whether a launch resumes it, finds it finished, or starts over.

DVC keeps the outputs of the stage (``persist``), so the folder may hold a run of another configuration. Only the run's
length and the intervals of its outputs may change during a run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from digan.errors import UserError
from pipelines.training_run.provenance import content_hash

ORIGIN, INDEX = "origin.json", "index.json"
MAY_CHANGE = (
    *("clips", "checkpoint_interval", "checkpoints_kept", "sample_interval", "snapshot_interval", "snapshots_kept"),
    *("compile", "deterministic", "on_divergence", "collapse_loss", "collapse_clips"),
)
CODE = ("digan/data", "digan/models", "digan/ops", "digan/training", "digan/seeding.py", "digan/times.py")

# Keys of params.yaml under the names that older runs and sweeps recorded them with.
RENAMED = {
    "mirror": "horizontal_flip",
    "interval": "grace_period",
    "reduction": "reduction_factor",
    "concurrency": "max_concurrent_trials",
}


@dataclass(frozen=True, kw_only=True)
class RunFingerprint:
    """``training`` and ``model`` as dicts, digests of the data and of the code behind the weights, and workers."""

    training: dict[str, Any]
    model: dict[str, Any]
    data: str
    code: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class ResumeDecision:
    """``kind`` is ``fresh``, ``continue``, ``finished`` or ``over`` (the folder holds another run); ``notes`` say why."""

    kind: str
    notes: list[str]


def code_digest() -> str:
    """SHA-256 over the sources that the weights depend on."""
    root = Path(__file__).resolve().parents[2]
    listed = "\n".join(f"{name} {content_hash(root / name)}" for name in CODE)
    return hashlib.sha256(listed.encode()).hexdigest()


def weights_digest(generator: Path) -> str:
    """SHA-256 over a generator folder's configuration and weights."""
    total = hashlib.sha256()
    for name in ("config.json", "weights.pt"):
        total.update((generator / name).read_bytes())
    return total.hexdigest()


def decide(folder: Path, now: RunFingerprint, *, clips_seen: int) -> ResumeDecision:
    """What to do in ``folder``, which holds a run of ``clips_seen`` clips."""
    if not folder.exists() or not any(folder.iterdir()):
        return ResumeDecision(kind="fresh", notes=[])
    before = read_origin(folder)
    if before is None:
        return ResumeDecision(kind="over", notes=["it has no readable origin.json"])
    changed = _changes(before, now)
    if now.training["clips"] < before.training["clips"] and now.training["clips"] < clips_seen:
        changed.append(f"training.clips={now.training['clips']} is less than the {clips_seen} clips it has seen")
    if changed:
        return ResumeDecision(kind="over", notes=changed)
    whole = _is_whole(folder, now)
    if whole and before.code == now.code:
        return ResumeDecision(kind="finished", notes=[])
    if whole:
        return ResumeDecision(kind="over", notes=["the code in digan/ has changed since it finished"])
    notes = []
    if before.code != now.code:
        notes.append("the code in digan/ has changed since it started")
    if before.workers != now.workers:
        notes.append(
            f"resuming with {now.workers} workers in place of {before.workers}: the same run up to the order of summation"
        )
    return ResumeDecision(kind="continue", notes=notes)


def _changes(before: RunFingerprint, now: RunFingerprint) -> list[str]:
    changed = []
    for section in ("training", "model"):
        old, new = getattr(before, section), getattr(now, section)
        for key in sorted({*old, *new} - set(MAY_CHANGE)):
            if old.get(key) != new.get(key):
                changed.append(f"{section}.{key} was {old.get(key)!r}, is {new.get(key)!r}")
    if before.data != now.data:
        changed.append("the data is different")
    return changed


def _is_whole(folder: Path, now: RunFingerprint) -> bool:
    """Whether the folder holds a finished, undamaged run of this length."""
    try:
        index = json.loads((folder / INDEX).read_text())
        same = index["config"]["training"]["clips"] == now.training["clips"]
        return bool(same and index["weights_digest"] == weights_digest(folder / "generator"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_origin(folder: Path) -> RunFingerprint | None:
    """What the folder was started with, or ``None`` where it does not say."""
    try:
        found = json.loads((folder / ORIGIN).read_text())
        return RunFingerprint(**{**found, "training": with_new_names(found["training"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def with_new_names(section: dict[str, Any]) -> dict[str, Any]:
    """A recorded section of params.yaml with its keys under their present names."""
    return {RENAMED.get(key, key): value for key, value in section.items()}


def write_origin(folder: Path, origin: RunFingerprint) -> None:
    """Record what the folder is started with."""
    write_json(folder / ORIGIN, asdict(origin))


def move_aside(folder: Path) -> Path | None:
    """``folder`` becomes ``folder.previous``, in place of an older one; without a checkpoint it is deleted."""
    if not any((folder / "checkpoints").glob("*")) and not (folder / "generator").exists():
        shutil.rmtree(folder)
        return None
    previous = folder.with_name(folder.name + ".previous")
    if previous.exists():
        shutil.rmtree(previous)
    folder.rename(previous)
    return previous


def lock_of(folder: Path) -> Path:
    """The file that is locked while a training writes to ``folder``; it has the number of its process."""
    return folder.parent / f".{folder.name}.lock"


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process; ``UserError`` when another process holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(folder).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"{folder}: process {lock.read().strip() or '?'} is training there; wait for it or stop it first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
