"""A sweep: what its books and schedulers decide, and what it leaves behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from digan.errors import UserError
from pipelines import params, tune
from pipelines.services import tracking
from pipelines.sweeps import apply, outcome, page, runs
from pipelines.sweeps.config import TuneConfig
from pipelines.sweeps.records import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    Measure,
    Records,
    Trial,
    best_of,
    changes,
    open_records,
)
from pipelines.sweeps.space import Parameter
from pipelines.sweeps.view import View
from tests.conftest import ROOT, WriteParams
from tests.pipelines.small_run import write_params, write_shards

GAMMA = Parameter(name="training.r1_gamma", kind="loguniform", low=0.1, high=10.0)
AUGMENT = Parameter(name="training.augment", kind="choice", values=("", "color"))
LENGTH, INTERVAL = 240, 80


def write_sweep(folder: Path, space: dict[str, Any] | None = None, **changes: Any) -> None:
    """Shards and params.yaml of a sweep of seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_params(folder)
    write_shards(folder / "outputs/shards")
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    values["tune"].update({"trials": 4, "interval": INTERVAL, "videos": 8, "clips": LENGTH, **changes})
    if space is not None:
        values["tune"]["space"] = space
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)


def trial(number: int, *points: float, state: str = RUNNING, gamma: float = 1.0, **more: Any) -> Trial:
    values = {"training.r1_gamma": gamma, "training.augment": "color" if number % 2 else ""}
    measures = tuple(
        Measure(clips_seen=INTERVAL * (i + 1), value=v, values=values, seconds=0.5) for i, v in enumerate(points)
    )
    clips = INTERVAL * len(points)
    return Trial(
        number=number, values=values, state=state, measures=measures, clips=clips, wall=9.0, seconds=4.0, **more
    )


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


def test_another_sweep_is_put_aside_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    first, notes = open_records(tmp_path / "tune", {"tune": {"seed": 0, "trials": 4}, "data": "a"})
    first.put(trial(0, 5.0, state=FINISHED))
    longer, notes = open_records(tmp_path / "tune", {"tune": {"seed": 0, "trials": 9}, "data": "a"})
    assert not notes and longer.trials == first.trials and longer.sweep_id == first.sweep_id
    other, notes = open_records(tmp_path / "tune", {"tune": {"seed": 1, "trials": 9}, "data": "a"})
    assert "tune.seed was 0, is 1" in notes[0] and not other.trials
    assert Records(tmp_path / "tune.previous").trials == first.trials


def test_what_a_sweep_varies_or_sets_itself_does_not_make_it_another_one(write_params: WriteParams) -> None:
    """So the winner can be applied to params.yaml, and the same command still finds the sweep done."""
    base = params.load(write_params())
    same = params.load(write_params({"training.r1_gamma": 7.0, "training.sample_interval": 17, "cluster.workers": 1}))
    other = params.load(write_params({"training.discriminator_lr": 0.1, "tune.seed": 3, "tune.trials": 99}))
    now = tune._settings(base, "data")
    assert changes(now, tune._settings(same, "data")) == []
    told = changes(now, tune._settings(other, "data"))
    assert len(told) == 2 and "discriminator_lr" in told[0] + told[1] and "tune.seed was 0, is 3" in told
    assert changes(now, tune._settings(base, "other data")) == ["data has changed"]


def test_a_run_is_found_again_by_its_tags_and_closed(records: Records, store: Path) -> None:
    """A driver that is killed before it has written a run's id down finds the run; saying how it ended twice changes nothing."""
    config = tracking.TrackingConfig(uri=f"sqlite:///{store / 'mlflow.db'}", experiment="sweep-runs")
    folder = records.trial_folder(0)
    identity = {runs.SWEEP_ID: "s", runs.NUMBER: "000", runs.PARENT: "p"}
    run_id = runs.ensure(config, identity, "trial-000", folder / runs.RUN_FILE, {"data.digest": "d"})
    (folder / runs.RUN_FILE).unlink()
    assert runs.ensure(config, identity, "trial-000", folder / runs.RUN_FILE, {}) == run_id
    assert runs.ensure(config, {**identity, runs.NUMBER: "001"}, "other", tmp := folder / "other.json", {}) != run_id
    assert tmp.is_file()
    (folder / "train").mkdir()
    (folder / "train/log.jsonl").write_text('{"clips_seen": 80, "seconds": 1.0, "loss/generator": 0.5}\n')
    for _ in range(2):
        runs.close(config, trial(0, 9.0, state=STOPPED, reason="asha: worse"), folder)
    run = tracking.client(config).get_run(run_id)
    assert run.info.status == "KILLED" and run.data.tags["sweep.reason"] == "asha: worse"
    assert run.data.tags["data.digest"] == "d" and run.data.metrics == {"loss/generator": 0.5}
    assert len(tracking.client(config).get_metric_history(run_id, "loss/generator")) == 1
    runs.close(config, trial(7, state=FAILED), records.trial_folder(7))  # it never had a run


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


def some_trials() -> list[Trial]:
    gammas = [0.1, 0.3, 1.0, 3.0, 9.0, 0.6]
    return [
        trial(
            n,
            *([10 + g] * (3 if n < 2 else 1)),
            state=FINISHED if n < 2 else STOPPED,
            gamma=g,
            reason="<b>&" * (n == 3),
        )
        for n, g in enumerate(gammas)
    ]


def test_importance_finds_the_parameter_that_matters() -> None:
    found = outcome.importances(some_trials(), [GAMMA, AUGMENT])
    assert found[0].name == "training.r1_gamma" and found[0].strength == pytest.approx(1.0)
    assert found[0].chance < 0.05 < found[1].chance
    assert outcome.importances(some_trials()[:3], [GAMMA]) == []


def test_outcome_and_page_say_what_happened(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for one in some_trials():
        records.put(one)
    outcome.write(records, [GAMMA, AUGMENT], "frechet_x", 6)
    rows = list(csv.DictReader((tmp_path / "metrics/sweep.csv").open()))
    assert [int(row["trial"]) for row in rows] == list(range(6)) and rows[3]["reason"] == "<b>&"
    summary = json.loads((tmp_path / "metrics/sweep.json").read_text())
    assert summary["best"]["trial"] == 0 and summary["stopped"] == 4 and summary["clips"] == 10 * INTERVAL
    html = page.write(records, [GAMMA, AUGMENT], "frechet_x", 8, LENGTH).read_text()
    assert "&lt;b&gt;&amp;" in html and "<b>&<" not in html and "http" not in html.replace("http-equiv", "")
    assert html.count("<svg") == 4 and "stand-in, not FVD" in html


def test_live_view_tells_changes_once(records: Records) -> None:
    import io

    from rich.console import Console

    stream = io.StringIO()
    view = View(records, [GAMMA, AUGMENT], "frechet_x", LENGTH, 4, stream)
    records.put(trial(0, 12.0, gamma=0.5))
    records.put(trial(1, 14.0, state=STOPPED, gamma=2.0, reason="asha: worse"))
    with view:
        view.renew()
        view.renew()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "trial 001  stopped" in lines[1] and "training.r1_gamma=2.0" in lines[1] and "(asha: worse)" in lines[1]
    shown = io.StringIO()
    Console(file=shown, width=100).print(view.table())
    text = shown.getvalue()
    assert "1 of 4 trials ended" in text and "r1_gamma" in text and "*12" in text and "stopped" in text


def test_the_winner_goes_into_params_with_comments_and_order(records: Records, tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    values = {"training.r1_gamma": 0.5, "training.augment": "color", "training.mirror": True, "model.channel_max": 16}
    after = apply.replaced(before, values, "params.yaml")
    changed = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    assert len(changed) == 4
    assert all(a.partition("#")[2] == b.partition("#")[2] and a.index("#") == b.index("#") for a, b in changed)
    (tmp_path / "params.yaml").write_text(after)
    loaded = params.load(tmp_path / "params.yaml")
    assert loaded.training.r1_gamma == 0.5 and loaded.training.augment == "color" and loaded.training.mirror
    assert loaded.model.channel_max == 16
    with pytest.raises(UserError, match=r"has no training\.r2_gamma"):
        apply.replaced(before, {"training.r2_gamma": 1.0}, "params.yaml")


def test_apply_shows_the_diff_and_writes_only_when_told(
    records: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.cli import main

    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    records.put(trial(0, 9.0, state=FINISHED, gamma=2.5))
    records.put(trial(1, 8.0, state=STOPPED, gamma=7.5))
    asked = ["sweep", "apply", "--sweep", str(records.folder), "--params", str(path)]
    main(asked)
    said = capsys.readouterr().out
    assert "trial 000" in said and "+  r1_gamma: 2.5" in said and "left as it is" in said
    assert params.load(path).training.r1_gamma != 2.5
    main([*asked, "--yes"])
    assert params.load(path).training.r1_gamma == 2.5
    main([*asked, "--yes", "--trial", "1"])
    assert params.load(path).training.r1_gamma == 7.5
    for wrong in ([*asked, "--trial", "5"], ["sweep", "apply", "--sweep", str(tmp_path)]):
        with pytest.raises(SystemExit) as left:
            main(wrong)
        assert left.value.code == 2
