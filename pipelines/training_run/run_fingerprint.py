"""The fingerprint that a training folder was started with, and whether a launch resumes, replaces or keeps its run.

DVC keeps the outputs of the stage (``persist``), so the folder may hold a run of another configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from digan.atomic import write_json
from digan.errors import UserError
from digan.system import lock_file
from pipelines.params_file import flatten
from pipelines.training_run.provenance import content_hash

ORIGIN, INDEX = "origin.json", "index.json"
MAY_CHANGE = {  # keys that may change during a run
    *("clips", "checkpoint_interval", "checkpoints_kept", "sample_interval", "snapshot_interval", "snapshots_kept"),
    *("compile", "deterministic", "on_divergence", "collapse_loss", "collapse_clips", "code", "workers"),
}
CODE = ("digan/data", "digan/models", "digan/ops", "digan/training", "digan/seeding.py", "digan/times.py")

# Keys of params.yaml in the records of older runs and sweeps, and their present names.
RENAMED = {"mirror": "horizontal_flip", "interval": "grace_period"}
RENAMED |= {"reduction": "reduction_factor", "concurrency": "max_concurrent_trials"}
# keys that older records do not have, and the values that these runs had
BEFORE: dict[str, dict[str, Any]] = {"model": {"drift": 0}, "training": {"start_from": ""}}


@dataclass(frozen=True, kw_only=True)
class RunFingerprint:
    """Sections ``training`` and ``model``, digests of the data and of the code behind the weights, number of workers."""

    training: dict[str, Any]
    model: dict[str, Any]
    data: str
    code: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class ResumeDecision:
    """What a launch does with its folder; ``replace`` if it holds another run. ``notes`` are reasons, for the user."""

    kind: Literal["fresh", "resume", "finished", "replace"]
    notes: tuple[str, ...] = ()


def code_digest() -> str:
    """SHA-256 over the sources that the weights depend on."""
    root = Path(__file__).resolve().parents[2]
    listed = "\n".join(f"{name} {content_hash(root / name)}" for name in CODE)
    return hashlib.sha256(listed.encode()).hexdigest()


def weights_digest(generator: Path) -> str:
    """SHA-256 over a generator folder's configuration and weights."""
    content = (generator / "config.json").read_bytes() + (generator / "weights.pt").read_bytes()
    return hashlib.sha256(content).hexdigest()


def decide(folder: Path, now: RunFingerprint, *, clips_seen: int) -> ResumeDecision:
    """Decide what a launch with fingerprint ``now`` does in ``folder``, whose log ends at ``clips_seen`` clips."""
    if not folder.exists() or not any(folder.iterdir()):
        return ResumeDecision(kind="fresh")
    before = read_origin(folder)
    if before is None:
        return ResumeDecision(kind="replace", notes=("it has no readable origin.json",))
    if changes := _changes(before, now, clips_seen):
        return ResumeDecision(kind="replace", notes=tuple(changes))
    code_changed = before.code != now.code
    if _is_finished(folder, now):
        if code_changed:
            return ResumeDecision(kind="replace", notes=("the code in digan/ has changed since it finished",))
        return ResumeDecision(kind="finished")
    notes = ["the code in digan/ has changed since it started"] if code_changed else []
    if before.workers != now.workers:
        workers = f"{now.workers} workers instead of {before.workers}"
        notes.append(f"resuming with {workers}: the results are equal up to the order of summation")
    return ResumeDecision(kind="resume", notes=tuple(notes))


def _changes(before: RunFingerprint, now: RunFingerprint, clips_seen: int) -> list[str]:
    """The differences that make ``now`` another run."""
    changes = changed_values(asdict(before), with_present_keys(asdict(now)), MAY_CHANGE)
    clips = now.training["clips"]
    if clips < before.training["clips"] and clips < clips_seen:
        changes.append(f"training.clips={clips} is less than the {clips_seen} clips it has seen")
    return changes


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any], may_change: Collection[str]) -> list[str]:
    """Describe the differences between nested settings, apart from the keys ``may_change``."""
    old, new = (flatten(settings, keep="tune.space") for settings in (before, now))
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n) and n.rpartition(".")[2] not in may_change]
    return [f"{n} was {old.get(n)!r}, is {new.get(n)!r}" if "." in n else f"{n} has changed" for n in names]


def _is_finished(folder: Path, now: RunFingerprint) -> bool:
    """Whether the folder holds a finished, undamaged run of this length."""
    try:
        index = json.loads((folder / INDEX).read_text())
        same_length = index["config"]["training"]["clips"] == now.training["clips"]
        return bool(same_length and index["weights_digest"] == weights_digest(folder / "generator"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_origin(folder: Path) -> RunFingerprint | None:
    """The fingerprint that the folder's run was started with; ``None`` without a readable origin.json."""
    try:
        values = json.loads((folder / ORIGIN).read_text())
        return RunFingerprint(**with_present_keys(values))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def with_present_keys(record: dict[str, Any]) -> dict[str, Any]:
    """Recorded sections of params.yaml with the present keys: under their present names, later ones with their old effect."""
    present = {
        name: {RENAMED.get(key, key): value for key, value in record[name].items()}
        for name in ("training", "tune")
        if name in record
    }
    record = record | present
    return record | {name: added | record[name] for name, added in BEFORE.items() if name in record}


def write_origin(folder: Path, origin: RunFingerprint) -> None:
    """Record the fingerprint that the folder's run is started with."""
    write_json(folder / ORIGIN, asdict(origin))


def move_aside(folder: Path) -> Path | None:
    """Rename ``folder`` to ``folder.previous``, replacing an older one; delete it if it has neither checkpoint nor result."""
    if not any((folder / "checkpoints").glob("*")) and not (folder / "generator").exists():
        shutil.rmtree(folder)
        return None
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(previous, ignore_errors=True)
    return folder.rename(previous)


@contextmanager
def sole_writer(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process; ``UserError`` if another one still holds it after ``wait`` s."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    with (folder.parent / f".{folder.name}.lock").open("a+") as lock:
        while True:
            try:
                lock_file(lock)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lock.seek(0)
                    problem = f"process {lock.read().strip() or '?'} is training there; wait for it or stop it first"
                    raise UserError(f"{folder}: {problem}") from None
            time.sleep(0.2)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
