"""Tune's schedulers and callback, with every result recorded before a scheduler decides."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler

from digan.atomic import write_bytes
from digan.redaction import redacted
from pipelines.report.text_format import grouped
from pipelines.sweeps.sweep_driver import CLIPS, NUMBER, OBJECTIVE, SweepDriver
from pipelines.sweeps.sweep_state import FAILED, STOPPED, TrialRecord

ERROR = "error.txt"  # in a trial's folder: the error that ended its process
BY_CLIPS = {"time_attr": CLIPS, "metric": OBJECTIVE, "mode": "min"}


class TrialEvents(Callback):
    """Records launches of trials and the errors after which they are not restarted."""

    def __init__(self, driver: SweepDriver) -> None:
        self.driver = driver

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.driver.start(trial.config[NUMBER])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the error of a trial that has no restarts left."""
        number, text = trial.config[NUMBER], redacted(str(trial.get_error() or "no message").strip())
        path = write_bytes(self.driver.state.trial_folder(number) / ERROR, text.encode() + b"\n")
        times = f"died {self.driver.config.max_failures + 1} times (tune.max_failures)"
        self.driver.end(number, FAILED, f"{times}, last error: {text.splitlines()[-1][:160]}; traceback in {path}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.driver.on_change()


class RecordedScheduler(TrialScheduler):
    """A mix-in before one of Tune's schedulers: records results, and stops trials that have failed, finished or used up the
    budget; Tune's scheduler, created with ``options``, decides on all others."""

    def __init__(self, driver: SweepDriver, **options: Any) -> None:
        super().__init__(**options)
        self.driver = driver

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        trial.config.update(self.driver.values_of(trial.config[NUMBER]))
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the result and decide whether the trial continues."""
        number = trial.config[NUMBER]
        self.driver.record(number, result, {p.name: trial.config[p.name] for p in self.driver.parameters})
        if self.driver.end_by_result(number, result):
            return TrialScheduler.STOP
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self.driver.end(number, STOPPED, self.reason(number, result))
        return decision

    def reason(self, number: int, result: dict[str, Any]) -> str:
        """Return why Tune's scheduler stops a trial."""
        return "stopped by the scheduler"


class FullLength(RecordedScheduler, FIFOScheduler):
    """Runs every trial to its end."""


class SuccessiveHalving(RecordedScheduler, AsyncHyperBandScheduler):
    """Tune's ASHA over clips seen. It starts with empty rungs, so measurements of earlier launches are passed to it again: a
    continued trial's own, and those of ended trials, which are not launched again, under stubs."""

    def __init__(self, driver: SweepDriver) -> None:
        first, factor = driver.config.grace_period, driver.config.reduction_factor
        longest = max(driver.length, first + 1)
        super().__init__(driver, max_t=longest, grace_period=first, reduction_factor=factor, **BY_CLIPS)
        self.ended_before = [known for known in driver.state.launched() if known.ended]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Add the trial with its measurements of earlier launches."""
        super().on_trial_add(tune_controller, trial)
        while self.ended_before:
            stub = Trial("digan", stub=True)
            AsyncHyperBandScheduler.on_trial_add(self, tune_controller, stub)
            self.replay(tune_controller, stub, self.ended_before.pop())
        self.replay(tune_controller, trial, self.driver.state.trials[trial.config[NUMBER]])

    def replay(self, tune_controller: Any, trial: Trial, known: TrialRecord) -> None:
        """Pass recorded measurements to Tune's scheduler and ignore its decisions, which an earlier launch has taken."""
        for measure in known.measures:
            if measure.clips_seen < self.driver.length:
                result = {CLIPS: measure.clips_seen, OBJECTIVE: measure.value}
                AsyncHyperBandScheduler.on_trial_result(self, tune_controller, trial, result)

    def reason(self, number: int, result: dict[str, Any]) -> str:
        """Compare the trial's value with those of the other trials at the same rung."""
        clips, factor = int(result[CLIPS]), self.driver.config.reduction_factor
        rung: float = self.driver.config.grace_period
        while rung * factor <= clips:
            rung *= factor
        trials = (t for t in self.driver.state.launched() if t.number != number)
        reached = [[m.value for m in t.measures if m.clips_seen >= rung] for t in trials]
        others = [values[0] for values in reached if values]
        compared = f"{len(others)} other {'trial' if len(others) == 1 else 'trials'}, best {min(others):.4g}"
        value = f"{result[OBJECTIVE]:.4g} at {grouped(clips)} clips"
        return f"asha: {value} is not among the best 1/{factor:g} there ({compared})"


class Population(RecordedScheduler, PopulationBasedTraining):
    """Tune's population-based training over clips seen: worse trials exploit checkpoints of better ones and explore values."""

    def __init__(self, driver: SweepDriver) -> None:
        interval = 0.75 * driver.config.grace_period  # results are an interval apart, plus or minus a batch
        options = {
            "perturbation_interval": interval,
            "custom_explore_fn": self.explore,
            "log_config": False,
            **BY_CLIPS,
        }
        super().__init__(driver, hyperparam_mutations={p.name: p.domain() for p in driver.parameters}, **options)
        self.reporting = 0

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the result; the trial may then continue from another trial's checkpoint with new values."""
        self.reporting = trial.config[NUMBER]
        return super().on_trial_result(tune_controller, trial, result)

    def explore(self, config: dict[str, Any]) -> dict[str, Any]:
        """Limit mutated values to their ranges, which Tune ignores; ``config`` is the better trial's, apart from its number."""
        limited = {p.name: p.limited(config[p.name]) for p in self.driver.parameters}
        return {**config, **limited, NUMBER: self.reporting}


SCHEDULERS = {"none": FullLength, "asha": SuccessiveHalving, "pbt": Population}


def scheduler(driver: SweepDriver) -> RecordedScheduler:
    """Create the scheduler that ``tune.scheduler`` names."""
    return SCHEDULERS[driver.config.scheduler](driver)
