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
    """Launches the ``pending`` trials of ``length`` clips and writes every change to ``state`` before acting on it.
    ``propose`` returns the values of a new trial; ``on_end`` is called once for an ended trial."""

    config: SweepConfig
    parameters: list[SearchParameter]
    length: int
    state: SweepState
    pending: list[int]
    propose: Callable[[int], dict[str, Any]]
    on_end: Callable[[TrialRecord], None]
    on_change: Callable[[], None] = lambda: None
    clock: dict[int, float] = field(default_factory=dict)  # number -> when its wall time was last updated

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ())  # Ray pickles schedulers and callbacks into a snapshot, which a sweep does not use

    def values_of(self, number: int) -> dict[str, Any]:
        """Return the trial's recorded values, or propose and record them."""
        if number not in self.state.trials:
            values = self.propose(number)
            self.state.put(TrialRecord(number=number, values=values, first_values=values))
        return self.state.trials[number].values

    def next(self) -> int | None:
        """Return the number of the trial to launch now, ``None`` if none is left or the budget is used up."""
        if not self.pending or self.over_budget():
            return None
        self.clock[self.pending[0]] = time.monotonic()
        return self.pending.pop(0)

    def over_budget(self) -> bool:
        """Whether all trials together have trained ``tune.budget`` clips."""
        return 0 < self.config.budget <= self.state.clips

    def start(self, number: int) -> None:
        """Record that the trial was launched, for the first time or again."""
        trial = self.state.trials[number]
        if not trial.ended:
            self.state.update(number, state=RUNNING, reason="", starts=trial.starts + 1)
        self.on_change()

    def record(self, number: int, result: dict[str, Any], values: dict[str, Any]) -> None:
        """Record a trial's result with the ``values`` in use; a known measurement is not recorded again."""
        trial = self.state.trials[number]
        exploited = json.loads(result.get("exploited", "null"))  # text, because Tune flattens nested results
        measures, value = trial.measures, float(result.get(OBJECTIVE, math.nan))
        if math.isfinite(value) and (result[CLIPS], value) not in [(m.clips_seen, m.value) for m in measures]:
            seconds = float(result.get("measure_seconds", 0.0))
            measures += (TrialMeasurement(clips_seen=int(result[CLIPS]), value=value, values=values, seconds=seconds),)
        self.state.update(
            number,
            values=values,
            run_id=result.get("run_id") or trial.run_id,
            measures=measures,
            adoptions=trial.adoptions + ((exploited,) if exploited and exploited not in trial.adoptions else ()),
            clips=max(trial.clips, int(result.get("trained", 0))),
            seconds=max(trial.seconds, float(result.get("training_seconds", 0.0))),
            wall=self._wall(number),
        )
        self.clock[number] = time.monotonic()
        self.on_change()

    def end_by_result(self, number: int, result: dict[str, Any]) -> bool:
        """End a trial that has failed, has finished or has used up the budget; return whether it has ended."""
        if result.get("failed"):
            self.end(number, FAILED, result["failed"])
        elif result.get("finished"):
            self.end(number, FINISHED, "")
        elif self.over_budget():
            used, budget = grouped(self.state.clips), grouped(self.config.budget)
            self.end(number, STOPPED, f"tune.budget: {used} of {budget} clips are used up")
        return self.state.trials[number].ended

    def end(self, number: int, state: str, reason: str) -> None:
        """Record that the trial has ended, unless that is recorded already."""
        if not self.state.trials[number].ended:
            self.on_end(self.state.update(number, state=state, reason=reason, wall=self._wall(number)))
            self.on_change()

    def _wall(self, number: int) -> float:
        now = time.monotonic()
        return round(self.state.trials[number].wall + now - self.clock.setdefault(number, now), 2)
