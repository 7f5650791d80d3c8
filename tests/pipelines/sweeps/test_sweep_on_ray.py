"""Sweeps with Ray: end to end, killed and restarted, dying trials, population-based training."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from pipelines import params
from pipelines.sweeps.sweep_state import FAILED, FINISHED, STOPPED, SweepState
from tests.pipelines.sweeps.small_sweep import INTERVAL, write_sweep


def stage(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """`python -m pipelines.tune` in ``folder``."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | environment
    log = (folder / "output.txt").open("a")
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.tune"], cwd=folder, env=env, stdout=log, stderr=log, text=True
    )


def finish(folder: Path, seconds: float = 300) -> str:
    process = stage(folder)
    assert process.wait(timeout=seconds) == 0, (folder / "output.txt").read_text()
    return (folder / "output.txt").read_text()


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute(sql).fetchall()


def assert_tracked_once(folder: Path, trials: int) -> None:
    """One parent run, one child run per trial, no duplicate points."""
    runs = query(folder, "select value, count(*) from tags where key = 'sweep.trial' group by value")
    assert dict(runs) == {**{f"{n:03d}": 1 for n in range(trials)}, "parent": 1}
    assert query(folder, "select count(*) from metrics group by run_uuid, key, step having count(*) > 1") == []
    parents = query(folder, "select distinct value from tags where key = 'mlflow.parentRunId'")
    assert parents == query(folder, "select run_uuid from tags where key = 'sweep.trial' and value = 'parent'")


@pytest.mark.slow
def test_sweep_end_to_end(tmp_path: Path) -> None:
    """A trial that finishes and one that diverges are tracked and recorded; the same command then has nothing to do."""
    write_sweep(
        tmp_path,
        {"training.generator_lr": {"grid": [0.002, 1e30]}},
        search="grid",
        scheduler="none",
        clips=120,
        grace_period=80,
    )
    finish(tmp_path)
    state = SweepState(tmp_path / "outputs/tune")
    assert {n: t.state for n, t in state.trials.items()} == {0: FINISHED, 1: FAILED}
    assert state.trials[1].reason.startswith("training diverged at")
    assert [m.clips_seen for m in state.trials[0].measures] == [80, 120]
    assert_tracked_once(tmp_path, 2)
    run = state.trials[0].run_id
    curve = query(
        tmp_path, f"select step, value from metrics where run_uuid = '{run}' and key like 'quick/%' order by step"
    )
    assert curve == [(m.clips_seen, m.value) for m in state.trials[0].measures]
    logged = dict(query(tmp_path, f"select key, value from params where run_uuid = '{run}'"))
    assert logged["training.generator_lr"] == "0.002" and not any(key.startswith("tune.") for key in logged)
    states = query(
        tmp_path, "select r.status, t.value from runs r join tags t using (run_uuid) where t.key = 'sweep.state'"
    )
    assert sorted(states) == [("FAILED", FAILED), ("FINISHED", FINISHED)]
    assert (tmp_path / "reports/sweep.html").is_file() and (tmp_path / "metrics/sweep.csv").is_file()
    assert "2 trials; nothing to do" in finish(tmp_path, 60)


def ray_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
def test_killed_sweep_resumes_with_the_same_trials(tmp_path: Path) -> None:
    """After kill -9 of driver and cluster, the trials are those of the seed; none is repeated or restarted from scratch."""
    write_sweep(tmp_path, trials=4, scheduler="none", clips=400)
    output = tmp_path / "outputs/tune"
    for ended in (0, 1):
        process = stage(tmp_path)
        end = time.monotonic() + 240
        while time.monotonic() < end and process.poll() is None:
            known = SweepState(output).launched() if (output / "sweep.json").is_file() else []
            if sum(t.ended for t in known) >= ended and any(not t.ended and t.measures for t in known):
                break
            time.sleep(0.2)
        victims = [*ray_processes(process), psutil.Process(process.pid)]
        for one in victims:
            if one.is_running():
                one.send_signal(signal.SIGKILL)
        process.wait()
    before = SweepState(output)
    finish(tmp_path)
    after = SweepState(output)
    assert {n: t.state for n, t in after.trials.items()} == dict.fromkeys(range(4), FINISHED)
    assert all(after.trials[n] == t for n, t in before.trials.items() if t.ended)
    assert any(t.starts > 1 for t in after.launched())
    seeded = params.load(tmp_path / "params.yaml")
    from pipelines.sweeps import search_algorithm
    from pipelines.sweeps.sweep_run import search_space

    drawn = [search_algorithm.propose(seeded.tune, search_space(seeded), n, []) for n in range(4)]
    assert [t.values for t in after.launched()] == drawn
    assert_tracked_once(tmp_path, 4)


@pytest.mark.slow
def test_killed_trial_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    write_sweep(tmp_path, trials=1, scheduler="none", clips=2000, grace_period=200)
    process = stage(tmp_path)
    checkpoints = tmp_path / "outputs/tune/trials/000/train/checkpoints"
    end = time.monotonic() + 240
    while time.monotonic() < end and not any(checkpoints.glob("0*")):
        time.sleep(0.02)
    victims = [p for p in ray_processes(process) if "ImplicitFunc" in " ".join(p.cmdline())]
    assert len(victims) == 1
    victims[0].kill()
    assert process.wait(timeout=240) == 0, (tmp_path / "output.txt").read_text()
    [only] = SweepState(tmp_path / "outputs/tune").launched()
    assert only.state == FINISHED and only.starts == 2 and only.clips == 2000
    assert [m.clips_seen for m in only.measures] == list(range(200, 2001, 200))
    assert_tracked_once(tmp_path, 1)


@pytest.mark.slow
def test_stopped_and_killed_trials_free_their_resources(tmp_path: Path) -> None:
    """On one core, each trial can start only once the resources of the previous one are free."""
    space = {"training.generator_lr": {"grid": [0.002, 1e-7, 1e-8]}}
    write_sweep(
        tmp_path,
        space,
        search="grid",
        scheduler="asha",
        max_concurrent_trials=1,
        reduction_factor=2.0,
        clips=2 * INTERVAL,
    )
    process = stage(tmp_path)
    # the log gets its first line after 2 s, when the trial of a fast machine has ended; a checkpoint comes after a quarter
    checkpoints = tmp_path / "outputs/tune/trials/000/train/checkpoints"
    end = time.monotonic() + 240
    while time.monotonic() < end and not any(checkpoints.glob("0*")):
        time.sleep(0.02)
    for trial in ray_processes(process):
        if "ImplicitFunc" in " ".join(trial.cmdline()):
            trial.kill()
    assert process.wait(timeout=400) == 0, (tmp_path / "output.txt").read_text()
    trials = SweepState(tmp_path / "outputs/tune").launched()
    assert [(t.state, t.starts) for t in trials] == [(FINISHED, 2), (STOPPED, 1), (STOPPED, 1)]


@pytest.mark.slow
def test_population_copies_checkpoints_byte_for_byte(tmp_path: Path) -> None:
    """A trial that learns nothing exploits the other's checkpoint: the same bytes and the same measurement."""
    space = {"training.generator_lr": {"grid": [1e-7, 0.004]}}
    write_sweep(tmp_path, space, trials=2, scheduler="pbt", clips=320, grace_period=80)
    yaml = YAML()
    values = yaml.load((tmp_path / "params.yaml").read_text())
    values["training"]["checkpoints_kept"] = 100
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    finish(tmp_path, 500)
    trials = SweepState(tmp_path / "outputs/tune").launched()
    assert [t.state for t in trials] == [FINISHED, FINISHED]
    worse = trials[0]
    assert worse.adoptions and not trials[1].adoptions
    for exploited in worse.adoptions:
        assert exploited["trial"] == 1
        name = f"{exploited['clips_seen']:010d}/state.pt"
        own, donor = (tmp_path / f"outputs/tune/trials/{n:03d}/train/checkpoints" / name for n in (0, 1))
        if exploited == worse.adoptions[-1]:
            assert donor.read_bytes() == own.read_bytes()
        measured = {m.clips_seen: m.value for m in trials[1].measures}[exploited["clips_seen"]]
        assert measured in [m.value for m in worse.measures if m.clips_seen == exploited["clips_seen"]]
    assert_tracked_once(tmp_path, 2)
    assert query(tmp_path, "select count(*) from metrics where key = 'params/training.generator_lr'")[0][0] >= 4
