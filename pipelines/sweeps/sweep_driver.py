"""The driver's side of a sweep: which trial is launched next, what a result changes, and how a trial ends."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.report.text_format import grouped
from pipelines.sweeps.config import SweepConfig
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, FINISHED, RUNNING, STOPPED, SweepState, TrialMeasurement, TrialRecord

OBJECTIVE, CLIPS = "objective", "clips_seen"  # keys of a trial's results
NUMBER = "number"  # key of a trial's number in its configuration


@dataclass(kw_only=True)
class SweepDriver:
    """Launches the ``pending`` trials and writes every change to ``records`` before anything follows from it.

    ``length`` is the number of clips of a whole trial, ``propose`` returns the values of a trial that has none yet,
    ``on_end`` is called once for a trial that has ended and ``on_change`` after every change.
    """

    config: SweepConfig
    parameters: list[SearchParameter]
    length: int
    records: SweepState
    pending: list[int]
    propose: Callable[[int], dict[str, Any]]
    on_end: Callable[[TrialRecord], None]
    on_change: Callable[[], None]
    clock: dict[int, float] = field(default_factory=dict)  # number -> when its wall time was last taken

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ())  # Ray pickles schedulers and callbacks into a snapshot, which a sweep does not use

    def values_of(self, number: int) -> dict[str, Any]:
        """Return the trial's recorded values, or propose and record them."""
        if number not in self.records.trials:
            values = self.propose(number)
            self.records.put(TrialRecord(number=number, values=values, first_values=values))
        return self.records.trials[number].values

    def next(self) -> int | None:
        """Return the number of the trial to launch now, ``None`` if none is left or the budget is used up."""
        if not self.pending or self.over_budget():
            return None
        self.clock[self.pending[0]] = time.monotonic()
        return self.pending.pop(0)

    def over_budget(self) -> bool:
        """Whether all trials together have trained ``tune.budget`` clips."""
        return 0 < self.config.budget <= self.records.clips

    def start(self, number: int) -> None:
        """Record that the trial runs, for the first time or again."""
        trial = self.records.trials[number]
        if not trial.ended:
            self.records.change(number, state=RUNNING, reason="", starts=trial.starts + 1)
        self.on_change()

    def record(self, number: int, result: dict[str, Any], values: dict[str, Any]) -> None:
        """Record a trial's result with the ``values`` that were in force."""
        trial = self.records.trials[number]
        adopted = json.loads(result.get("adopted", "null"))  # text, because Tune flattens nested results
        self.records.change(
            number,
            values=values,
            run_id=result.get("run_id") or trial.run_id,
            adoptions=(*trial.adoptions, adopted) if adopted and adopted not in trial.adoptions else trial.adoptions,
            clips=max(trial.clips, int(result.get("trained", 0))),
            seconds=max(trial.seconds, float(result.get("training_seconds", 0.0))),
            wall=self._wall(number),
        )
        self.clock[number] = time.monotonic()
        if math.isfinite(result.get(OBJECTIVE, math.nan)):
            measure = TrialMeasurement(
                clips_seen=int(result[CLIPS]),
                value=float(result[OBJECTIVE]),
                values=values,
                seconds=float(result.get("measure_seconds", 0.0)),
            )
            self.records.measure(number, measure)
        self.on_change()

    def end_by_result(self, number: int, result: dict[str, Any]) -> bool:
        """End a trial that has failed, is whole or has used up the budget; the value says whether it was ended."""
        if result.get("failed"):
            self.end(number, FAILED, result["failed"])
        elif result.get("whole"):
            self.end(number, FINISHED, "")
        elif self.over_budget():
            used, budget = grouped(self.records.clips), grouped(self.config.budget)
            self.end(number, STOPPED, f"tune.budget: {used} of {budget} clips are used up")
        return self.records.trials[number].ended

    def end(self, number: int, state: str, reason: str) -> None:
        """Record that the trial has ended, unless it is recorded already."""
        if not self.records.trials[number].ended:
            self.on_end(self.records.change(number, state=state, reason=reason, wall=self._wall(number)))
            self.on_change()

    def _wall(self, number: int) -> float:
        now = time.monotonic()
        return round(self.records.trials[number].wall + now - self.clock.setdefault(number, now), 2)
