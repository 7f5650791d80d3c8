"""Values of a sweep's trials. The same seed and earlier trials give the same values, so a sweep can be resumed."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ray.tune.search import Searcher

from pipelines.sweeps import space
from pipelines.sweeps.config import SweepConfig
from pipelines.sweeps.space import SearchParameter, Value
from pipelines.sweeps.sweep_driver import NUMBER, OBJECTIVE, SweepDriver
from pipelines.sweeps.sweep_state import FAILED, FINISHED, STOPPED, TrialRecord

STARTUP = 5  # random trials before TPE builds a model


class TrialSearcher(Searcher):
    """Suggests a pending trial only when there is room for it, so that TPE learns from all earlier ones; saves nothing."""

    def __init__(self, driver: SweepDriver) -> None:
        super().__init__(metric=OBJECTIVE, mode="min")
        self.driver = driver

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's number and values, ``Searcher.FINISHED`` if none is left."""
        number = self.driver.next()
        return Searcher.FINISHED if number is None else {NUMBER: number, **self.driver.values_of(number)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler has recorded the result."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


def propose(
    config: SweepConfig, parameters: list[SearchParameter], number: int, known: list[TrialRecord]
) -> dict[str, Value]:
    """Return the values of trial ``number``; TPE learns from the ``known`` trials with smaller numbers."""
    if config.search == "grid":
        return space.grid(parameters)[number]
    if config.search == "random" or number < STARTUP:
        return space.draw(parameters, seed=config.seed, number=number)
    earlier = sorted((trial for trial in known if trial.number < number), key=lambda t: t.number)
    return _tpe(config.seed, parameters, number, earlier)


def _tpe(seed: int, parameters: list[SearchParameter], number: int, earlier: list[TrialRecord]) -> dict[str, Value]:
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = 1_000_003 * seed + number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    distributions = {p.name: _distribution(p) for p in parameters}
    states = {FINISHED: TrialState.COMPLETE, STOPPED: TrialState.PRUNED, FAILED: TrialState.FAIL}
    for trial in earlier:
        state = states.get(trial.state, TrialState.RUNNING)
        value = trial.value if trial.last and trial.state == FINISHED else None
        params = {p.name: trial.first_values.get(p.name, trial.values[p.name]) for p in parameters}
        curve = {m.clips_seen: m.value for m in trial.measures if math.isfinite(m.value)}
        known = {"params": params, "distributions": distributions, "intermediate_values": curve}
        study.add_trial(create_trial(state=state, value=value, **known))
    asked = study.ask(distributions)
    return {p.name: p.limited(asked.params[p.name]) for p in parameters}


def _distribution(parameter: SearchParameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.finite:
        return CategoricalDistribution(parameter.values)
    if parameter.kind in space.WHOLE:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.logarithmic)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.logarithmic, step=parameter.step or None)
