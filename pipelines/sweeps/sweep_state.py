"""The state of a sweep, written by the driver as it changes: values, measurements and outcome of each trial.

A sweep resumes from it alone: Ray's snapshot of an experiment is seconds old and lacks the scheduler's state."""

from __future__ import annotations

import json
import logging
import math
import shutil
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from pipelines.training_run.run_fingerprint import changed_values, with_present_keys

SWEEP, TRIAL = "sweep.json", "trial.json"
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"
ENDS = (FINISHED, STOPPED, FAILED)
MAY_GROW = ("trials", "budget", "max_concurrent_trials", "max_failures")  # when a sweep is resumed
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrialMeasurement:
    """The objective at ``clips_seen``, with the values in use and the seconds that measuring took."""

    clips_seen: int
    value: float
    values: dict[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial. ``clips`` and ``seconds`` count its training over all launches, ``starts`` the launches, ``wall`` the seconds
    from launch to end. ``adoptions`` are the checkpoints of other trials that it continued from in population-based training."""

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

    @property
    def value(self) -> float:
        """The latest value of the objective, infinite before the first measurement."""
        return self.last.value if self.last else math.inf


class SweepState:
    """The trials of the sweep in ``folder``, by number; every change is written to disk at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: dict[int, TrialRecord] = {}
        for path in sorted(folder.glob(f"trials/*/{TRIAL}")):
            content = json.loads(path.read_text())
            content["measures"] = tuple(TrialMeasurement(**m) for m in content["measures"])
            content["adoptions"] = tuple(content["adoptions"])
            self.trials[content["number"]] = TrialRecord(**content)
        self.sweep_id = json.loads((folder / SWEEP).read_text())["id"] if (folder / SWEEP).is_file() else ""

    def trial_folder(self, number: int) -> Path:
        """Return the folder of everything that a trial writes."""
        return self.folder / "trials" / f"{number:03d}"

    def put(self, trial: TrialRecord) -> None:
        """Add or replace a trial."""
        self.trials[trial.number] = trial
        write_json(self.trial_folder(trial.number) / TRIAL, asdict(trial))

    def update(self, number: int, **changes: Any) -> TrialRecord:
        """Replace some of a trial's fields."""
        self.put(replace(self.trials[number], **changes))
        return self.trials[number]

    @property
    def clips(self) -> int:
        """Clips trained by all trials together."""
        return sum(trial.clips for trial in self.trials.values())

    def launched(self) -> list[TrialRecord]:
        """Return all trials that have been launched, in the order of their numbers."""
        return [self.trials[number] for number in sorted(self.trials)]


def best_of(trials: list[TrialRecord]) -> TrialRecord | None:
    """Return the trial with the lowest last measurement, among the finished ones if there are any."""
    finished = [t for t in trials if t.state == FINISHED and t.last]
    measured = finished or [t for t in trials if t.state != FAILED and t.last]
    return min(measured, key=lambda t: (t.value, t.number), default=None)


def open_sweep(folder: Path, settings: dict[str, Any]) -> SweepState:
    """Open the sweep in ``folder``, or begin a new one if the ``settings`` differ."""
    path = folder / SWEEP
    if path.is_file():
        before = with_present_keys(json.loads(path.read_text())["settings"])
        if changed := changed_values(before, settings, MAY_GROW):
            previous = folder.with_name(folder.name + ".previous")
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
            reasons = "; ".join(changed)
            logger.warning("starting over: %s holds another sweep (%s); moved to %s", folder, reasons, previous.name)
    if not path.is_file():
        write_json(path, {"format": 1, "id": uuid.uuid4().hex[:12], "settings": settings})
    return SweepState(folder)
