"""The books of a sweep: what each trial is, how far it came and how it ended, written by the driver as it happens.

They alone decide what is left to do after a kill. Ray's own snapshot of an experiment comes every few seconds and holds no state of
its scheduler, so a restored one forgets what it had compared.
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from digan.atomic import write_json

SWEEP, TRIAL, ADOPTED = "sweep.json", "trial.json", "adopted.json"
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"
ENDS = (FINISHED, STOPPED, FAILED)
MAY_GROW = ("trials", "budget", "concurrency", "max_failures")  # of a sweep that goes on


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One point of a trial: the objective at ``clips_seen``, with the parameters in force and the seconds that it took."""

    clips_seen: int
    value: float
    values: dict[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration. ``clips`` and ``seconds`` are training done, over all launches, and ``wall`` the seconds from
    its launch to its end; ``starts`` counts launches.

    ``adoptions`` are population-based training's: at how many clips whose weights were taken over.
    """

    number: int
    values: dict[str, Any]
    state: str = WAITING
    reason: str = ""
    measures: tuple[Measure, ...] = ()
    clips: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    starts: int = 0
    adoptions: tuple[dict[str, Any], ...] = ()
    run_id: str = ""
    first_values: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ENDS

    @property
    def last(self) -> Measure | None:
        """The newest measure."""
        return self.measures[-1] if self.measures else None


class Records:
    """Trials of the sweep in ``folder``, by number; every change is on disk before anything follows from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: dict[int, Trial] = {}
        for path in sorted(folder.glob(f"trials/*/{TRIAL}")):
            trial = _read(path)
            self.trials[trial.number] = trial
        self.sweep_id = json.loads((folder / SWEEP).read_text())["id"] if (folder / SWEEP).is_file() else ""

    def trial_folder(self, number: int) -> Path:
        """Where a trial keeps what it makes."""
        return self.folder / "trials" / f"{number:03d}"

    def put(self, trial: Trial) -> None:
        """Keep a trial's new state."""
        self.trials[trial.number] = trial
        write_json(self.trial_folder(trial.number) / TRIAL, asdict(trial))

    def change(self, number: int, **changes: Any) -> Trial:
        """Keep some new values of a trial."""
        self.put(replace(self.trials[number], **changes))
        return self.trials[number]

    def measure(self, number: int, measure: Measure) -> bool:
        """Keep a measure; ``False`` for one that is known."""
        trial = self.trials[number]
        if any(m.clips_seen == measure.clips_seen and m.value == measure.value for m in trial.measures):
            return False
        self.change(number, measures=(*trial.measures, measure))
        return True

    @property
    def clips(self) -> int:
        """Clips trained by all trials together."""
        return sum(trial.clips for trial in self.trials.values())

    def begun(self) -> list[Trial]:
        """All trials in the order of their numbers."""
        return [self.trials[number] for number in sorted(self.trials)]


def best_of(trials: list[Trial]) -> Trial | None:
    """The trial with the lowest last measure, among whole ones where there are any."""
    whole = [t for t in trials if t.state == FINISHED and t.last]
    measured = whole or [t for t in trials if t.state != FAILED and t.last]
    return min(measured, key=lambda t: (t.last.value if t.last else 0.0, t.number), default=None)


def open_records(folder: Path, settings: dict[str, Any]) -> tuple[Records, list[str]]:
    """The records in ``folder`` where they are of a sweep with these ``settings``, else new ones; notes say what was found."""
    notes = []
    if (folder / SWEEP).is_file():
        before = json.loads((folder / SWEEP).read_text())["settings"]
        changed = changes(before, settings)
        if changed:
            kept = _move_aside(folder)
            notes.append(f"starting over: {folder} holds another sweep ({'; '.join(changed)}); it is now {kept.name}")
    if not (folder / SWEEP).is_file():
        write_json(folder / SWEEP, {"format": 1, "id": uuid.uuid4().hex[:12], "settings": settings})
    return Records(folder), notes


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes it another sweep, in words."""
    found = []
    for section in sorted({*before, *now}):
        old, new = before.get(section), now.get(section)
        if not isinstance(old, dict) or not isinstance(new, dict):
            found += [f"{section} has changed"] if old != new else []
            continue
        skipped = MAY_GROW if section == "tune" else ()
        for key in sorted({*old, *new} - set(skipped)):
            if old.get(key) != new.get(key):
                found.append(f"{section}.{key} was {old.get(key)!r}, is {new.get(key)!r}")
    return found


def _move_aside(folder: Path) -> Path:
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(previous, ignore_errors=True)
    folder.rename(previous)
    return previous


def _read(path: Path) -> Trial:
    content = json.loads(path.read_text())
    content["measures"] = tuple(Measure(**m) for m in content["measures"])
    content["adoptions"] = tuple(content["adoptions"])
    return Trial(**content)
