"""What Ray Tune calls in the driver: which trial comes next, what a result decides, when a trial dies. It tells the books first."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher

from digan.atomic import write_bytes
from pipelines.report.text_format import grouped
from pipelines.services import origin
from pipelines.sweeps.config import TuneConfig
from pipelines.sweeps.records import FAILED, FINISHED, RUNNING, STOPPED, Measure, Records, Trial
from pipelines.sweeps.reservations import Reservations
from pipelines.sweeps.space import Parameter

OBJECTIVE, CLIPS = "objective", "clips_seen"
NUMBER = "number"
ERROR = "error.txt"
PLACEMENT = "placement.json"  # in a trial's folder: what Ray has reserved for its workers


@dataclass(kw_only=True)
class Sweep:
    """The driver's view of a sweep: its books, what is still to run, and who wants to hear of an end."""

    config: TuneConfig
    parameters: list[Parameter]
    length: int
    records: Records
    pending: list[int]
    propose: Callable[[int], dict[str, Any]]
    on_end: Callable[[Trial], None]
    on_change: Callable[[], None]
    metric: str
    clock: dict[int, float] = field(default_factory=dict)  # number -> when its wall time was last taken
    launched: dict[str, int] = field(default_factory=dict)  # Ray's trial id -> number
    reservations: Reservations = field(default_factory=Reservations)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ())  # Ray pickles schedulers into its own snapshot, which is not used

    def values_of(self, number: int) -> dict[str, Any]:
        """The trial's configuration: the recorded one, or a new proposal, which is recorded."""
        if number not in self.records.trials:
            values = self.propose(number)
            self.records.put(Trial(number=number, values=values, first_values=values))
        return self.records.trials[number].values

    def next(self) -> int | None:
        """The number to launch now, ``None`` where there is none or the budget is used up."""
        if not self.pending or self.over_budget():
            return None
        self.clock[self.pending[0]] = time.monotonic()
        return self.pending.pop(0)

    def wall(self, number: int) -> float:
        """The trial's wall time up to now."""
        now = time.monotonic()
        return round(self.records.trials[number].wall + now - self.clock.setdefault(number, now), 2)

    def over_budget(self) -> bool:
        """Whether all trials together have trained what they may."""
        return 0 < self.config.budget <= self.records.clips

    def start(self, number: int) -> None:
        """The trial runs, for the first time or again."""
        self.release(number)
        trial = self.records.trials[number]
        if not trial.ended:
            self.records.change(number, state=RUNNING, reason="", starts=trial.starts + 1)
        self.on_change()

    def take(self, number: int, result: dict[str, Any], values: dict[str, Any]) -> None:
        """A result of a trial goes into the books."""
        trial = self.records.trials[number]
        if result.get("run_id") and result["run_id"] != trial.run_id:
            trial = self.records.change(number, run_id=result["run_id"])
        adopted = json.loads(result.get("adopted", "null"))  # as text: Tune flattens what is nested
        if adopted and adopted not in trial.adoptions:
            trial = self.records.change(number, adoptions=(*trial.adoptions, adopted))
        trained = max(trial.clips, int(result.get("trained", 0)))
        seconds = max(trial.seconds, float(result.get("training_seconds", 0.0)))
        self.records.change(number, values=values, clips=trained, seconds=seconds, wall=self.wall(number))
        self.clock[number] = time.monotonic()
        if math.isfinite(result.get(OBJECTIVE, math.nan)):
            self.records.measure(
                number,
                Measure(
                    clips_seen=int(result[CLIPS]),
                    value=float(result[OBJECTIVE]),
                    values=values,
                    seconds=float(result.get("measure_seconds", 0.0)),
                ),
            )
        self.on_change()

    def release(self, number: int) -> None:
        """The trial's process ends, or has ended; what is reserved for its workers is given back once it is gone."""
        path = self.records.trial_folder(number) / PLACEMENT
        if path.is_file() and (held := json.loads(path.read_text())["id"]):
            self.reservations.leave(held, origin.lock_of(self.records.trial_folder(number) / "train"))
        path.unlink(missing_ok=True)

    def end(self, number: int, state: str, reason: str) -> None:
        """The trial has ended; nothing ends twice."""
        if not self.records.trials[number].ended:
            self.on_end(self.records.change(number, state=state, reason=reason, wall=self.wall(number)))
            self.on_change()


class _Booked:
    """Beside one of Tune's schedulers: results go into the books, and failures, whole trials and the budget are decided here."""

    sweep: Sweep

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        number = trial.config[NUMBER]
        self.sweep.launched[trial.trial_id] = number
        trial.config.update(self.sweep.values_of(number))
        super().on_trial_add(controller, trial)  # type: ignore[misc]

    def judge(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """What Tune's scheduler says."""
        decision: str = super().on_trial_result(controller, trial, result)  # type: ignore[misc]
        return decision

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = self._decide(controller, trial, result)
        if decision != TrialScheduler.CONTINUE:
            self.sweep.release(self.sweep.launched[trial.trial_id])
        return decision

    def _decide(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self.sweep.launched[trial.trial_id]
        values = {p.name: trial.config[p.name] for p in self.sweep.parameters}
        self.sweep.take(number, result, values)
        if result.get("failed"):
            self.sweep.end(number, FAILED, result["failed"])
            return TrialScheduler.STOP
        if result.get("whole"):
            self.sweep.end(number, FINISHED, "")
            return TrialScheduler.STOP
        if self.sweep.over_budget():
            used, budget = grouped(self.sweep.records.clips), grouped(self.sweep.config.budget)
            self.sweep.end(number, STOPPED, f"tune.budget: {used} of {budget} clips are used up")
            return TrialScheduler.STOP
        decision = self.judge(controller, trial, result)
        if decision == TrialScheduler.STOP:
            self.sweep.end(number, STOPPED, self.why(trial, result))
        return decision

    def why(self, trial: Any, result: dict[str, Any]) -> str:
        """Why the scheduler stops this trial."""
        return "stopped by the scheduler"


class Plain(_Booked, FIFOScheduler):
    """Every trial runs to its end."""


class Halving(_Booked, AsyncHyperBandScheduler):
    """ASHA by clips seen, which remembers the rungs of an earlier launch.

    Tune's own lets the first trial at a rung pass, since there is nobody to compare it with. Here a trial is judged again with
    every later measure, by what has come to that rung since, as if it had come last; at the highest rung it has reached and no
    other, so that the best one there always goes on.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(
            time_attr=CLIPS,
            metric=OBJECTIVE,
            mode="min",
            max_t=max(sweep.length, sweep.config.interval + 1),
            grace_period=sweep.config.interval,
            reduction_factor=sweep.config.reduction,
        )
        self.sweep = sweep
        self._rungs = self._brackets[0]
        self._reason = ""
        for trial in sweep.records.begun():
            for measure in trial.measures:
                self._pass(trial.number, measure.clips_seen, measure.value)

    def _pass(self, number: int, clips: int, value: float) -> None:
        """A trial comes to a rung; trials are known there by number, whatever Ray calls them in this launch."""
        if clips < self.sweep.length:
            self._rungs.on_result(SimpleNamespace(trial_id=_name(number)), clips, -value)

    def judge(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self.sweep.launched[trial.trial_id]
        before = self._highest(number)
        self._pass(number, int(result[CLIPS]), float(result[OBJECTIVE]))
        self._reason = self._beaten(number, again=self._highest(number) is before)
        return TrialScheduler.STOP if self._reason else TrialScheduler.CONTINUE

    def _highest(self, number: int) -> tuple[float, dict[str, float]] | None:
        """The highest rung that a trial has come to: its clips, and what every trial had there (Tune maximises, so negative)."""
        return next((rung for rung in self._rungs._rungs if _name(number) in rung[1]), None)

    def _beaten(self, number: int, *, again: bool) -> str:
        """Why a trial has to stop at its highest rung, where it may be judged ``again``; empty where it does not."""
        if (rung := self._highest(number)) is None:
            return ""
        clips, recorded = rung
        own = recorded[_name(number)]
        others = {key: value for key, value in recorded.items() if key != _name(number)}
        if not others or own >= (cutoff := self._rungs.cutoff(others)):
            return ""
        return (
            f"asha: {-own:.4g} at {grouped(int(clips))} clips is worse than {-cutoff:.4g}, "
            f"the cutoff of {len(others)} trial{'s' if len(others) > 1 else ''} there{' by now' if again else ''}"
        )

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Its last result was judged already."""

    def why(self, trial: Any, result: dict[str, Any]) -> str:
        return self._reason


def _name(number: int) -> str:
    """What a trial is called at the rungs."""
    return f"{number:03d}"


class Population(_Booked, PopulationBasedTraining):
    """Population-based training by clips seen: the worse trials take over the better ones' weights and change parameters."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(
            time_attr=CLIPS,
            metric=OBJECTIVE,
            mode="min",
            perturbation_interval=0.75 * sweep.config.interval,  # reports come an interval apart, give or take a batch
            hyperparam_mutations={p.name: p.domain() for p in sweep.parameters},
            custom_explore_fn=self._inside,
            log_config=False,
        )
        self.sweep = sweep

    def _inside(self, config: dict[str, Any]) -> dict[str, Any]:
        """Mutations stay within the space: Tune multiplies by 1.2 or 0.8 whatever the ends are."""
        for p in self.sweep.parameters:
            if not p.finite:
                value = min(max(config[p.name], p.low), p.high)
                config[p.name] = int(value) if p.kind in ("randint", "lograndint") else float(f"{value:.4g}")
        return config

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        config[NUMBER] = trial.config[NUMBER]
        return config, operations


SCHEDULERS: dict[str, Callable[[Sweep], Any]] = {"asha": Halving, "pbt": Population}


def scheduler(sweep: Sweep) -> Any:
    """Tune's scheduler that ``tune.scheduler`` names."""
    if sweep.config.scheduler == "none":
        plain = Plain()
        plain.sweep = sweep
        return plain
    return SCHEDULERS[sweep.config.scheduler](sweep)


class Proposals(Searcher):
    """Hands out the trials that are left, one when there is room for it, so that a later one learns from earlier ones."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(metric=OBJECTIVE, mode="min")
        self.sweep = sweep

    def suggest(self, trial_id: str) -> Any:
        number = self.sweep.next()
        if number is None:
            return Searcher.FINISHED
        return {NUMBER: number, **self.sweep.values_of(number)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The books know already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept with Ray."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is kept with Ray."""


class Events(Callback):
    """Starts and deaths of trials."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.sweep.start(self.sweep.launched[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.sweep.release(self.sweep.launched[trial.trial_id])
        number, text = self.sweep.launched[trial.trial_id], str(trial.get_error() or "no message").strip()
        kept = write_bytes(self.sweep.records.trial_folder(number) / ERROR, text.encode() + b"\n")
        times = f"died {self.sweep.config.max_failures + 1} times (tune.max_failures)"
        self.sweep.end(number, FAILED, f"{times}, at last: {text.splitlines()[-1][:160]}; all of it in {kept}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.sweep.release(self.sweep.launched[trial.trial_id])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.sweep.reservations.give_back()
        self.sweep.on_change()
