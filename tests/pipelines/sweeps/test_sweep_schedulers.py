"""Decisions of a sweep's schedulers: which trials stop and why, failures, the budget."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import params
from pipelines.sweeps.config import SweepConfig
from pipelines.sweeps.sweep_state import FAILED, FINISHED, STOPPED, SweepState, best_of, open_sweep
from tests.conftest import ROOT
from tests.pipelines.sweeps.small_sweep import GAMMA, INTERVAL, LENGTH


def config(**changes: Any) -> SweepConfig:
    values = params.load(ROOT / "params.yaml").as_dict()["tune"]
    return SweepConfig(**{**values, "grace_period": INTERVAL, "clips": LENGTH, **changes})


def driver(state: SweepState, pending: list[int], **changes: Any) -> Any:
    """A sweep's driver whose trials are simulated by the test."""
    from pipelines.sweeps.sweep_driver import SweepDriver

    return SweepDriver(
        config=config(**changes),
        parameters=[GAMMA],
        length=LENGTH,
        state=state,
        pending=pending,
        propose=lambda number: {"training.r1_gamma": 0.5 + number},
        on_end=lambda ended: None,
        on_change=lambda: None,
    )


def launch(scheduler: Any, number: int) -> Any:
    from ray.tune.experiment import Trial

    one = Trial("digan", stub=True, config={"number": number})
    scheduler.on_trial_add(SimpleNamespace(search_alg=None), one)
    return one


def result(clips: int, value: float = float("nan"), **more: Any) -> dict[str, Any]:
    return {"clips_seen": clips, "objective": value, "trained": clips, **more}


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    return open_sweep(tmp_path / "tune", {"tune": {"seed": 0}})


def test_asha_stops_worse_trials_with_a_reason(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import scheduler

    asha = scheduler(driver(state, [0, 1, 2, 3], scheduler="asha", reduction_factor=2.0))
    decisions = [
        asha.on_trial_result(None, launch(asha, number), result(INTERVAL, value))
        for number, value in enumerate([50.0, 60.0, 40.0, 46.0])
    ]
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "CONTINUE"]
    assert state.trials[1].state == STOPPED
    assert state.trials[1].reason == "asha: 60 at 80 clips is not among the best 1/2 there (1 other trial, best 50)"


def test_asha_names_the_rung_that_a_trial_fails_at(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import scheduler

    asha = scheduler(driver(state, [0, 1], scheduler="asha", reduction_factor=2.0))
    first, second = launch(asha, 0), launch(asha, 1)
    for clips, values in ((INTERVAL, (60.0, 50.0)), (2 * INTERVAL, (10.0, 45.0))):
        decisions = [
            asha.on_trial_result(None, t, result(clips, v)) for t, v in zip((first, second), values, strict=True)
        ]
    assert decisions == ["CONTINUE", "STOP"]
    assert state.trials[1].reason == "asha: 45 at 160 clips is not among the best 1/2 there (1 other trial, best 10)"


def test_asha_compares_with_the_trials_of_earlier_launches(state: SweepState) -> None:
    """Both ended trials and continued ones."""
    from pipelines.sweeps.schedulers import scheduler

    asha = scheduler(driver(state, [0, 1, 2, 3], scheduler="asha", reduction_factor=2.0))
    for number, value in enumerate([50.0, 60.0, 40.0]):
        asha.on_trial_result(None, launch(asha, number), result(INTERVAL, value))
    before = state.trials[1]

    again = SweepState(state.folder)  # what a new driver reads
    resumed = scheduler(driver(again, [0, 2, 3, 4], scheduler="asha", reduction_factor=2.0))
    continued = launch(resumed, 0)
    assert resumed.on_trial_result(None, continued, result(INTERVAL, 50.0)) == "CONTINUE"  # reported a second time
    launch(resumed, 2)
    assert resumed.on_trial_result(None, launch(resumed, 3), result(INTERVAL, 55.0)) == "STOP"  # cutoff of 50, 60, 40
    assert "3 other trials, best 40" in again.trials[3].reason
    assert resumed.on_trial_result(None, launch(resumed, 4), result(INTERVAL, 49.0)) == "CONTINUE"
    assert again.trials[1] == before


def test_failed_trial_keeps_its_reason_and_others_continue(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import scheduler

    sweep = driver(state, [0, 1], scheduler="none")
    plain = scheduler(sweep)
    bad, good = launch(plain, 0), launch(plain, 1)
    assert plain.on_trial_result(None, bad, result(40, failed="nan: loss/generator is nan at 40 clips")) == "STOP"
    assert plain.on_trial_result(None, good, result(INTERVAL, 5.0)) == "CONTINUE"
    assert plain.on_trial_result(None, good, result(LENGTH, 4.0, finished=True)) == "STOP"
    states = {t.number: (t.state, t.reason) for t in SweepState(state.folder).launched()}
    assert states == {0: (FAILED, "nan: loss/generator is nan at 40 clips"), 1: (FINISHED, "")}
    assert best_of(state.launched()) == state.trials[1]


def test_budget_ends_a_sweep(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import scheduler

    sweep = driver(state, [0, 1], scheduler="none", budget=150)
    plain = scheduler(sweep)
    number = sweep.next()
    running = launch(plain, number)
    assert plain.on_trial_result(None, running, result(INTERVAL, 5.0)) == "CONTINUE"
    assert plain.on_trial_result(None, running, result(2 * INTERVAL, 5.0)) == "STOP"
    assert "tune.budget: 160 of 150 clips" in state.trials[0].reason
    assert sweep.next() is None


def test_repeated_measurements_are_recorded_once(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import scheduler

    plain = scheduler(driver(state, [0], scheduler="none"))
    one = launch(plain, 0)
    exploited = {"trial": 1, "clips_seen": 160, "uid": "path"}
    for clips, value in [(80, 9.0), (160, 8.0), (80, 9.0), (160, 8.0)]:  # a restarted trial reports them again
        plain.on_trial_result(None, one, result(clips, value, exploited=json.dumps(exploited)))
    assert state.trials[0].adoptions == (exploited,)
    assert [m.clips_seen for m in state.trials[0].measures] == [80, 160]


def test_population_keeps_the_trial_number_and_limits_values(state: SweepState) -> None:
    from pipelines.sweeps.schedulers import Population

    population = Population(driver(state, [0, 1], scheduler="pbt", search="random"))
    donor, reporting = launch(population, 0), launch(population, 1)
    population.on_trial_result(None, reporting, result(INTERVAL // 2, 9.0))  # before the first perturbation
    for mutated, expected in ((11.0, 10.0), (0.05, 0.1), (1.23456, 1.235)):
        config = population.explore({**donor.config, "training.r1_gamma": mutated})
        assert config == {"number": 1, "training.r1_gamma": expected}


def test_search_suggests_each_pending_trial_once(state: SweepState) -> None:
    from ray.tune.search import Searcher

    from pipelines.sweeps.search_algorithm import TrialSearcher

    searcher = TrialSearcher(driver(state, [1, 2]))
    suggested = [searcher.suggest(f"ray{n}") for n in range(3)]
    assert suggested == [
        {"number": 1, "training.r1_gamma": 1.5},
        {"number": 2, "training.r1_gamma": 2.5},
        Searcher.FINISHED,
    ]
