"""The state of a sweep: values, measurements and end of each trial, written by the driver as they happen.

This state alone says what is left to do after a kill. Ray's own snapshot of an experiment is taken every few seconds and
holds no state of the scheduler.
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from pipelines.training_run.run_fingerprint import with_new_names

SWEEP, TRIAL, ADOPTED = "sweep.json", "trial.json", "adopted.json"
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"
ENDS = (FINISHED, STOPPED, FAILED)
MAY_GROW = ("trials", "budget", "max_concurrent_trials", "max_failures")  # when a sweep is resumed


@dataclass(frozen=True, kw_only=True)
class TrialMeasurement:
    """The objective at ``clips_seen``, with the values in force and the seconds that measuring took."""

    clips_seen: int
    value: float
    values: dict[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial. ``clips`` and ``seconds`` count its training over all launches, ``wall`` the seconds from launch to end;
    ``starts`` counts launches.

    ``adoptions`` are those of population-based training: which trial's weights were adopted, at how many clips.
    """

    number: int
    values: dict[str, Any]
    state: str = WAITING
    reason: str = ""
    measures: tuple[TrialMeasurement, ...] = ()
    clips: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    starts: int = 0
    adoptions: tuple[dict[str, Any], ...] = ()
    run_id: str = ""
    first_values: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the trial has finished, was stopped or has failed."""
        return self.state in ENDS

    @property
    def last(self) -> TrialMeasurement | None:
        """The latest measurement."""
        return self.measures[-1] if self.measures else None


class SweepState:
    """The trials of the sweep in ``folder``, by number; every change is on disk before anything follows from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: dict[int, TrialRecord] = {}
        for path in sorted(folder.glob(f"trials/*/{TRIAL}")):
            trial = _read(path)
            self.trials[trial.number] = trial
        self.sweep_id = json.loads((folder / SWEEP).read_text())["id"] if (folder / SWEEP).is_file() else ""

    def trial_folder(self, number: int) -> Path:
        """The folder with everything that a trial writes."""
        return self.folder / "trials" / f"{number:03d}"

    def put(self, trial: TrialRecord) -> None:
        """Write a trial's new state."""
        self.trials[trial.number] = trial
        write_json(self.trial_folder(trial.number) / TRIAL, asdict(trial))

    def change(self, number: int, **changes: Any) -> TrialRecord:
        """Write new values of some of a trial's fields."""
        self.put(replace(self.trials[number], **changes))
        return self.trials[number]

    def measure(self, number: int, measure: TrialMeasurement) -> None:
        """Append a measurement, unless it is known."""
        trial = self.trials[number]
        if all((m.clips_seen, m.value) != (measure.clips_seen, measure.value) for m in trial.measures):
            self.change(number, measures=(*trial.measures, measure))

    @property
    def clips(self) -> int:
        """Clips trained by all trials together."""
        return sum(trial.clips for trial in self.trials.values())

    def begun(self) -> list[TrialRecord]:
        """All trials that have been launched, in the order of their numbers."""
        return [self.trials[number] for number in sorted(self.trials)]


def best_of(trials: list[TrialRecord]) -> TrialRecord | None:
    """The trial with the lowest last measurement, among the finished ones if there are any."""
    whole = [t for t in trials if t.state == FINISHED and t.last]
    measured = whole or [t for t in trials if t.state != FAILED and t.last]
    return min(measured, key=lambda t: (t.last.value if t.last else 0.0, t.number), default=None)


def open_records(folder: Path, settings: dict[str, Any]) -> tuple[SweepState, list[str]]:
    """Open the sweep in ``folder``, or begin a new one if the ``settings`` differ; returns its state and notes for the user."""
    notes = []
    if (folder / SWEEP).is_file():
        before = json.loads((folder / SWEEP).read_text())["settings"]
        before |= {section: with_new_names(before[section]) for section in ("tune", "training") if section in before}
        changed = changes(before, settings)
        if changed:
            kept = _move_aside(folder)
            notes.append(f"starting over: {folder} holds another sweep ({'; '.join(changed)}); it is now {kept.name}")
    if not (folder / SWEEP).is_file():
        write_json(folder / SWEEP, {"format": 1, "id": uuid.uuid4().hex[:12], "settings": settings})
    return SweepState(folder), notes


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two sweeps' settings, in words."""
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


def _read(path: Path) -> TrialRecord:
    content = json.loads(path.read_text())
    content["measures"] = tuple(TrialMeasurement(**m) for m in content["measures"])
    content["adoptions"] = tuple(content["adoptions"])
    return TrialRecord(**content)
