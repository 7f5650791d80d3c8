"""The state of a sweep and its results: MLflow runs, table, page, live table, the winner in params.yaml."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines import params
from pipelines.params_file import set_values
from pipelines.sweeps import mlflow_runs, sweep_page, sweep_plots, sweep_run, sweep_summary
from pipelines.sweeps.sweep_run import settings
from pipelines.sweeps.sweep_state import FAILED, FINISHED, MAY_GROW, STOPPED, SweepState, TrialRecord, open_sweep
from pipelines.sweeps.terminal_table import SweepDisplay
from pipelines.tracking import runs
from pipelines.training_run.run_fingerprint import changed_values
from tests.conftest import ROOT, WriteParams
from tests.pipelines.small_run import write_shards
from tests.pipelines.sweeps.small_sweep import AUGMENT, GAMMA, INTERVAL, LENGTH, trial


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    return open_sweep(tmp_path / "tune", {"tune": {"seed": 0}})


def test_changed_settings_start_over_and_more_trials_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = open_sweep(tmp_path / "tune", {"tune": {"seed": 0, "trials": 4}, "data": "a"})
    first.put(trial(0, 5.0, state=FINISHED))
    longer = open_sweep(tmp_path / "tune", {"tune": {"seed": 0, "trials": 9}, "data": "a"})
    assert not caplog.records and longer.trials == first.trials and longer.sweep_id == first.sweep_id
    other = open_sweep(tmp_path / "tune", {"tune": {"seed": 1, "trials": 9}, "data": "a"})
    assert "tune.seed was 0, is 1" in caplog.text and not other.trials
    assert SweepState(tmp_path / "tune.previous").trials == first.trials


def test_settings_that_a_sweep_varies_or_sets_do_not_change_its_identity(write_params: WriteParams) -> None:
    """So after the winner was applied to params.yaml, the same command has nothing to do."""
    base = params.load(write_params())
    same = params.load(write_params({"training.r1_gamma": 7.0, "training.sample_interval": 17, "cluster.workers": 1}))
    other = params.load(write_params({"training.discriminator_lr": 0.1, "tune.seed": 3, "tune.trials": 99}))
    now = settings(base, "data")
    assert changed_values(now, settings(same, "data"), MAY_GROW) == []
    found = changed_values(now, settings(other, "data"), MAY_GROW)
    assert len(found) == 2 and "discriminator_lr" in found[0] + found[1] and "tune.seed was 0, is 3" in found
    assert changed_values(now, settings(base, "other data"), MAY_GROW) == ["data has changed"]


def test_run_is_found_by_its_tags_and_closed(state: SweepState, store: Path) -> None:
    """A driver killed before it wrote a run's id finds the run again; closing it twice changes nothing."""
    config = runs.TrackingConfig(uri=f"sqlite:///{store / 'mlflow.db'}", experiment="sweep-runs")
    folder = state.trial_folder(0)
    identity = {mlflow_runs.SWEEP_ID: "s", mlflow_runs.NUMBER: "000", mlflow_runs.PARENT: "p"}
    run_id = runs.open_run(config, {}, {"data.digest": "d"}, folder / mlflow_runs.RUN_FILE, identity=identity)
    (folder / mlflow_runs.RUN_FILE).unlink()
    assert runs.open_run(config, {}, {}, folder / mlflow_runs.RUN_FILE, identity=identity) == run_id
    other = {**identity, mlflow_runs.NUMBER: "001"}
    assert runs.open_run(config, {}, {}, folder / "other.json", identity=other) != run_id
    assert (folder / "other.json").is_file()
    (folder / "train").mkdir()
    (folder / "train/log.jsonl").write_text('{"clips_seen": 80, "seconds": 1.0, "loss/generator": 0.5}\n')
    for _ in range(2):
        mlflow_runs.close(config, trial(0, 9.0, state=STOPPED, reason="asha: worse"), folder)
    run = runs.client(config).get_run(run_id)
    assert run.info.status == "KILLED" and run.data.tags["sweep.reason"] == "asha: worse"
    assert run.data.tags["data.digest"] == "d" and run.data.metrics == {"loss/generator": 0.5}
    assert len(runs.client(config).get_metric_history(run_id, "loss/generator")) == 1
    mlflow_runs.close(config, trial(7, state=FAILED), state.trial_folder(7))  # without a run


def some_trials() -> list[TrialRecord]:
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


def test_importance_ranks_the_parameter_that_matters_first() -> None:
    found = sweep_summary.importances(some_trials(), [GAMMA, AUGMENT])
    assert found[0].name == "training.r1_gamma" and found[0].strength == pytest.approx(1.0)
    assert found[0].chance < 0.05 < found[1].chance
    assert sweep_summary.importances(some_trials()[:3], [GAMMA]) == []


def test_summary_and_page_hold_all_trials(state: SweepState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for one in some_trials():
        state.put(one)
    sweep_summary.write(state, [GAMMA, AUGMENT], "frechet_x", 6)
    rows = list(csv.DictReader((tmp_path / "metrics/sweep.csv").open()))
    assert [int(row["trial"]) for row in rows] == list(range(6)) and rows[3]["reason"] == "<b>&"
    summary = json.loads((tmp_path / "metrics/sweep.json").read_text())
    assert summary["best"]["trial"] == 0 and summary["stopped"] == 4 and summary["clips"] == 10 * INTERVAL
    html = sweep_page.write(state, [GAMMA, AUGMENT], "frechet_x", 8, LENGTH).read_text()
    assert "&lt;b&gt;&amp;" in html and "<b>&<" not in html and "http" not in html.replace("http://www.w3.org", "")
    assert html.count("<svg") == 4 and "stand-in, not FVD" in html


def test_parallel_plot_of_a_single_trial() -> None:
    assert "trial-0-parallel" in sweep_plots.parallel(some_trials()[:1], [GAMMA, AUGMENT], "frechet_x")


def test_display_writes_each_change_of_a_trial_once(state: SweepState, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    from rich.console import Console

    display = SweepDisplay(state, [GAMMA, AUGMENT], "frechet_x", LENGTH, 4)
    state.put(trial(0, 12.0, gamma=0.5))
    state.put(trial(1, 14.0, state=STOPPED, gamma=2.0, reason="asha: worse"))
    with display:
        display.update()
        display.update()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "trial 001  stopped" in lines[1] and "training.r1_gamma=2.0" in lines[1] and "(asha: worse)" in lines[1]
    shown = io.StringIO()
    Console(file=shown, width=100).print(display.table())
    text = shown.getvalue()
    assert "1 of 4 trials ended" in text and "r1_gamma" in text and "*12" in text and "stopped" in text


def test_values_are_set_in_params_with_comments_and_order_kept(state: SweepState, tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    values = {
        "training.r1_gamma": 0.5,
        "training.augment": "color",
        "training.horizontal_flip": True,
        "model.channel_max": 16,
    }
    after = set_values(before, values, "params.yaml")
    changed = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    assert len(changed) == 4
    assert all(a.partition("#")[2] == b.partition("#")[2] and a.index("#") == b.index("#") for a, b in changed)
    (tmp_path / "params.yaml").write_text(after)
    loaded = params.load(tmp_path / "params.yaml")
    assert loaded.training.r1_gamma == 0.5 and loaded.training.augment == "color" and loaded.training.horizontal_flip
    assert loaded.model.channel_max == 16
    with pytest.raises(UserError, match=r"has no key training\.r2_gamma"):
        set_values(before, {"training.r2_gamma": 1.0}, "params.yaml")


def test_apply_shows_the_diff_and_writes_only_with_yes(
    state: SweepState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.cli.main import main

    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    state.put(trial(0, 9.0, state=FINISHED, gamma=2.5))
    state.put(trial(1, 8.0, state=STOPPED, gamma=7.5))
    command = ["sweep", "apply", "--sweep", str(state.folder), "--params", str(path)]
    main(command)
    output = capsys.readouterr().out
    assert "trial 000" in output and "+  r1_gamma: 2.5" in output and "not changed" in output
    assert params.load(path).training.r1_gamma != 2.5
    main([*command, "--yes"])
    assert params.load(path).training.r1_gamma == 2.5
    main([*command, "--yes", "--trial", "1"])
    assert params.load(path).training.r1_gamma == 7.5
    for wrong in ([*command, "--trial", "5"], ["sweep", "apply", "--sweep", str(tmp_path)]):
        with pytest.raises(SystemExit) as left:
            main(wrong)
        assert left.value.code == 2


def test_trials_get_absolute_addresses_which_every_machine_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "shards")
    assert [sweep_run._absolute(address) for address in ("", "s3://b/i3d.pt", "/x/i3d.pt", "i3d.pt")] == [
        "",
        "s3://b/i3d.pt",
        "/x/i3d.pt",
        str(tmp_path / "i3d.pt"),
    ]
    shards = {f"the shards at {tmp_path}/shards": f"{tmp_path}/shards/index.json"}
    assert sweep_run._read_by_trials(tmp_path / "shards", "") == shards
    assert sweep_run._read_by_trials(tmp_path / "shards", "/w") == {**shards, "evaluation.weights=/w": "/w"}
