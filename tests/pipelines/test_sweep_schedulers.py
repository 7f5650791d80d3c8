"""What a sweep's schedulers decide: who stops and why, what a failure does, when the budget is used up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import params
from pipelines.sweeps.config import TuneConfig
from pipelines.sweeps.records import FAILED, FINISHED, STOPPED, Records, best_of, open_records
from tests.conftest import ROOT
from tests.pipelines.small_sweep import GAMMA, INTERVAL, LENGTH


def config(**changes: Any) -> TuneConfig:
    values = params.load(ROOT / "params.yaml").as_dict()["tune"]
    return TuneConfig(**{**values, "interval": INTERVAL, "clips": LENGTH, **changes})


def driver(records: Records, pending: list[int], **changes: Any) -> Any:
    """The driver's side of a sweep whose trials are played by hand."""
    from pipelines.sweeps.ray_side import Sweep

    return Sweep(
        config=config(**changes),
        parameters=[GAMMA],
        length=LENGTH,
        records=records,
        pending=pending,
        propose=lambda number: {"training.r1_gamma": 0.5 + number},
        on_end=lambda ended: None,
        on_change=lambda: None,
        metric="measure",
    )


class _RayTrial(SimpleNamespace):
    """What the schedulers see of one of Ray's trials."""

    __hash__ = object.__hash__


def launch(scheduler: Any, number: int) -> Any:
    kept = SimpleNamespace(checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None)))
    one = _RayTrial(
        trial_id=f"ray{number}", config={"number": number}, status="RUNNING", experiment_tag="", run_metadata=kept
    )
    scheduler.on_trial_add(SimpleNamespace(search_alg=None), one)
    return one


def result(clips: int, value: float = float("nan"), **more: Any) -> dict[str, Any]:
    return {"clips_seen": clips, "objective": value, "trained": clips, **more}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return open_records(tmp_path / "tune", {"tune": {"seed": 0}})[0]


def test_asha_stops_the_worse_with_its_reason_and_remembers_after_a_restart(records: Records) -> None:
    from pipelines.sweeps.ray_side import scheduler

    sweep = driver(records, [0, 1, 2, 3], scheduler="asha", reduction=2.0)
    asha = scheduler(sweep)
    decisions = []
    for number, value in enumerate([50.0, 60.0, 40.0]):
        sweep.next()
        decisions.append(asha.on_trial_result(None, launch(asha, number), result(INTERVAL, value)))
    assert decisions == ["CONTINUE", "STOP", "CONTINUE"]
    reason = records.trials[1].reason
    assert records.trials[1].state == STOPPED and "60 at 80 clips is worse than 50" in reason

    again = Records(records.folder)  # all that a new driver has
    fresh = driver(again, [0, 2, 3], scheduler="asha", reduction=2.0)
    reborn = scheduler(fresh)
    taken_up = launch(reborn, 0)  # its cutoff was passed before: replaying it changes nothing
    assert reborn.on_trial_result(None, taken_up, result(INTERVAL, 50.0)) == "CONTINUE"
    late = launch(reborn, 3)
    assert reborn.on_trial_result(None, late, result(INTERVAL, 55.0)) == "STOP"
    assert "cutoff of 3 trials" in again.trials[3].reason
    assert again.trials[1] == records.trials[1]


def test_asha_judges_those_again_who_came_first(records: Records) -> None:
    from pipelines.sweeps.ray_side import scheduler

    sweep = driver(records, list(range(5)), scheduler="asha", reduction=3.0)
    asha = scheduler(sweep)
    running = {}

    def comes(number: int, clips: int, value: float) -> str:
        if number not in running:
            sweep.next()
            running[number] = launch(asha, number)
        decision: str = asha.on_trial_result(None, running[number], result(clips, value))
        return decision

    assert comes(0, INTERVAL, 60.0) == "CONTINUE"  # nobody to compare with
    assert comes(1, INTERVAL, 50.0) == "CONTINUE"
    assert comes(0, 2 * INTERVAL, 10.0) == "STOP"  # as it would have been, had it come second
    assert "60 at 80 clips is worse than" in records.trials[0].reason and "by now" in records.trials[0].reason
    assert comes(2, INTERVAL, 40.0) == "CONTINUE"
    assert comes(1, 2 * INTERVAL, 45.0) == "STOP"  # of three trials one goes on
    assert comes(2, 2 * INTERVAL, 39.0) == "CONTINUE"
    assert comes(3, INTERVAL, 48.0) == "STOP"
    assert comes(2, 3 * INTERVAL, 38.0) == "CONTINUE"


def test_asha_lets_the_best_of_the_highest_rung_go_on(records: Records) -> None:
    """Though others were better where it began: else all of a sweep's trials could be stopped."""
    from pipelines.sweeps.ray_side import scheduler

    sweep = driver(records, list(range(3)), scheduler="asha", reduction=2.0)
    asha = scheduler(sweep)
    decisions = []
    sweep.next()
    first = launch(asha, 0)
    for clips, value in ((INTERVAL, 60.0), (2 * INTERVAL, 10.0)):
        decisions.append(asha.on_trial_result(None, first, result(clips, value)))
    for number, value in ((1, 50.0), (2, 40.0)):
        sweep.next()
        decisions.append(asha.on_trial_result(None, launch(asha, number), result(INTERVAL, value)))
    decisions.append(asha.on_trial_result(None, first, result(2 * INTERVAL + 8, 9.0)))
    assert decisions == ["CONTINUE"] * 5


def test_a_failed_trial_keeps_its_reason_and_the_others_go_on(records: Records) -> None:
    from pipelines.sweeps.ray_side import scheduler

    sweep = driver(records, [0, 1], scheduler="none")
    plain = scheduler(sweep)
    bad, good = launch(plain, 0), launch(plain, 1)
    assert plain.on_trial_result(None, bad, result(40, failed="nan: loss/generator is nan at 40 clips")) == "STOP"
    assert plain.on_trial_result(None, good, result(INTERVAL, 5.0)) == "CONTINUE"
    assert plain.on_trial_result(None, good, result(LENGTH, 4.0, whole=True)) == "STOP"
    states = {t.number: (t.state, t.reason) for t in Records(records.folder).begun()}
    assert states == {0: (FAILED, "nan: loss/generator is nan at 40 clips"), 1: (FINISHED, "")}
    assert best_of(records.begun()) == records.trials[1]


def test_the_budget_ends_a_sweep(records: Records) -> None:
    from pipelines.sweeps.ray_side import scheduler

    sweep = driver(records, [0, 1], scheduler="none", budget=150)
    plain = scheduler(sweep)
    number = sweep.next()
    running = launch(plain, number)
    assert plain.on_trial_result(None, running, result(INTERVAL, 5.0)) == "CONTINUE"
    assert plain.on_trial_result(None, running, result(2 * INTERVAL, 5.0)) == "STOP"
    assert "tune.budget: 160 of 150 clips" in records.trials[0].reason
    assert sweep.next() is None


def test_measures_are_kept_once(records: Records) -> None:
    from pipelines.sweeps.ray_side import scheduler

    plain = scheduler(driver(records, [0], scheduler="none"))
    one = launch(plain, 0)
    adopted = {"trial": 1, "clips_seen": 160, "uid": "somewhere"}
    for clips, value in [(80, 9.0), (160, 8.0), (80, 9.0), (160, 8.0)]:  # a trial that starts again replays them
        plain.on_trial_result(None, one, result(clips, value, adopted=json.dumps(adopted)))
    assert records.trials[0].adoptions == (adopted,)
    assert [m.clips_seen for m in records.trials[0].measures] == [80, 160]


def test_population_keeps_its_numbers_and_stays_in_range(records: Records) -> None:
    from pipelines.sweeps.ray_side import Population

    pbt = Population(driver(records, [0, 1], scheduler="pbt", search="random"))
    donor, taker = launch(pbt, 0), launch(pbt, 1)
    donor.config["training.r1_gamma"] = 9.9
    seen = set()
    for _ in range(60):
        new, _ = pbt._get_new_config(taker, donor)
        assert new["number"] == 1 and 0.1 <= new["training.r1_gamma"] <= 10.0
        seen.add(new["training.r1_gamma"])
    assert len(seen) > 2
