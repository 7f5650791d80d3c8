"""Tune's schedulers, with every result recorded before they decide."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler

from pipelines.report.text_format import grouped
from pipelines.sweeps.sweep_driver import CLIPS, NUMBER, OBJECTIVE, SweepDriver
from pipelines.sweeps.sweep_state import STOPPED
from pipelines.sweeps.sweep_state import TrialRecord as TrialRecord


class RecordedScheduler(TrialScheduler):
    """Comes before one of Tune's schedulers in a class's bases.

    A result is recorded first. Trials that have failed, are whole or exceed the budget are stopped; Tune's scheduler
    decides on all others.
    """

    driver: SweepDriver

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Give the trial its values."""
        trial.config.update(self.driver.values_of(trial.config[NUMBER]))
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the result and decide how the trial continues."""
        number = trial.config[NUMBER]
        self.driver.record(number, result, {p.name: trial.config[p.name] for p in self.driver.parameters})
        if self.driver.end_by_result(number, result):
            return TrialScheduler.STOP
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self.driver.end(number, STOPPED, self.reason(number, result))
        return decision

    def reason(self, number: int, result: dict[str, Any]) -> str:
        """Why Tune's scheduler stops a trial."""
        return "stopped by the scheduler"


class AllToTheEnd(RecordedScheduler, FIFOScheduler):
    """Runs every trial to its end."""

    def __init__(self, driver: SweepDriver) -> None:
        super().__init__()
        self.driver = driver


class SuccessiveHalving(RecordedScheduler, AsyncHyperBandScheduler):
    """Tune's ASHA over clips seen, with the rungs of earlier launches.

    Tune's scheduler starts with empty rungs. The measurements of earlier launches are passed to it again: a continued
    trial's own, and those of ended trials, which are not launched again, under stubs.
    """

    def __init__(self, driver: SweepDriver) -> None:
        super().__init__(
            time_attr=CLIPS,
            metric=OBJECTIVE,
            mode="min",
            max_t=max(driver.length, driver.config.grace_period + 1),
            grace_period=driver.config.grace_period,
            reduction_factor=driver.config.reduction_factor,
        )
        self.driver = driver
        self.ended_before = [known for known in driver.records.begun() if known.ended]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Add the trial with what it measured in earlier launches."""
        super().on_trial_add(tune_controller, trial)
        while self.ended_before:
            known = self.ended_before.pop()
            stub = Trial("digan", stub=True)
            AsyncHyperBandScheduler.on_trial_add(self, tune_controller, stub)
            self.replay(tune_controller, stub, known)
        self.replay(tune_controller, trial, self.driver.records.trials[trial.config[NUMBER]])

    def replay(self, tune_controller: Any, trial: Trial, known: TrialRecord) -> None:
        """Pass recorded measurements to Tune's scheduler; its decisions were taken in an earlier launch."""
        for measure in known.measures:
            if measure.clips_seen < self.driver.length:
                result = {CLIPS: measure.clips_seen, OBJECTIVE: measure.value}
                AsyncHyperBandScheduler.on_trial_result(self, tune_controller, trial, result)

    def reason(self, number: int, result: dict[str, Any]) -> str:
        """The trial's value beside those of the other trials at the same rung."""
        clips, share = int(result[CLIPS]), self.driver.config.reduction_factor
        rung: float = self.driver.config.grace_period
        while rung * share <= clips:
            rung *= share
        others = [
            next(measure.value for measure in other.measures if measure.clips_seen >= rung)
            for other in self.driver.records.begun()
            if other.number != number and other.last and other.last.clips_seen >= rung
        ]
        return (
            f"asha: {result[OBJECTIVE]:.4g} at {grouped(clips)} clips is not among the best 1/{share:g} there "
            f"({len(others)} other {'trial' if len(others) == 1 else 'trials'}, best {min(others):.4g})"
        )


class Population(RecordedScheduler, PopulationBasedTraining):
    """Tune's population-based training over clips seen: worse trials adopt the weights of better ones and change values."""

    def __init__(self, driver: SweepDriver) -> None:
        super().__init__(
            time_attr=CLIPS,
            metric=OBJECTIVE,
            mode="min",
            perturbation_interval=0.75
            * driver.config.grace_period,  # results are an interval apart, give or take a batch
            hyperparam_mutations={p.name: p.domain() for p in driver.parameters},
            custom_explore_fn=self.explore,
            log_config=False,
        )
        self.driver = driver
        self.reporting = 0

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the result; the trial may then get another trial's weights and values of its own."""
        self.reporting = trial.config[NUMBER]
        return super().on_trial_result(tune_controller, trial, result)

    def explore(self, config: dict[str, Any]) -> dict[str, Any]:
        """Limit mutated values to their ranges: Tune multiplies by 1.2 or 0.8 whatever the limits are.

        ``config`` is the better trial's, so the reporting trial's number is put back.
        """
        for p in self.driver.parameters:
            config[p.name] = p.limited(config[p.name])
        config[NUMBER] = self.reporting
        return config


SCHEDULERS: dict[str, type[AllToTheEnd | SuccessiveHalving | Population]] = {
    "none": AllToTheEnd,
    "asha": SuccessiveHalving,
    "pbt": Population,
}


def scheduler(driver: SweepDriver) -> RecordedScheduler:
    """Create the scheduler that ``tune.scheduler`` names."""
    return SCHEDULERS[driver.config.scheduler](driver)
