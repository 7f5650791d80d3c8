"""Many kills at random moments of one run, of workers, driver and raylet in turn: equal weights, no lost checkpoint."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from digan.training import checkpoint
from digan.training.checkpoint import FolderStore
from pipelines.cluster import training_driver
from pipelines.cluster.ray_cluster import connect
from tests.pipelines.small_run import assert_same_weights, log_of, write_params, write_shards

KILLS = int(os.environ.get("DIGAN_KILLS", "20"))
VICTIMS = ("RayTrainWorker", "driver", "raylet")
TIMEOUT = 150.0  # seconds for a launch to write its next checkpoint, on a busy machine
MAX_WAIT = 4.0  # seconds of training before a kill, at most
CLIPS_PER_KILL, CHECKPOINT = 450, 40


def newest(output: Path) -> int:
    names = checkpoint.listed(FolderStore(output / "checkpoints"))
    return int(names[0]) if names else -1


def longest_wait(rate: float) -> float:
    """Seconds of training before a kill at ``rate`` clips/s: half of the clips per kill, so the last one comes before the end."""
    return min(MAX_WAIT, CLIPS_PER_KILL / 2 / rate)


@pytest.mark.parametrize("rate", [1, 62, 500, 10_000])
def test_the_last_kill_comes_before_the_end_on_a_machine_of_any_speed(rate: float) -> None:
    """A kill costs at most a wait, the checkpoint before it and the one that is being written."""
    assert longest_wait(rate) * rate + 2 * CHECKPOINT < CLIPS_PER_KILL * 0.7


def find(driver: subprocess.Popen[bytes], victim: str, rng: random.Random) -> psutil.Process | None:
    if victim == "driver":
        return psutil.Process(driver.pid)
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            named = process.name() if victim == "raylet" else " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if victim in named:
            found.append(process)
    return rng.choice(found) if found else None


def is_agent(process: psutil.Process) -> bool:
    """Whether this is one of Ray's agents, which outlive their raylet for a while and do not touch the run; False for an ended process."""
    try:
        return process.name().endswith("Agent")
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_weights_are_equal_after_kills_at_random_moments(tmp_path: Path) -> None:
    clips = CLIPS_PER_KILL * max(KILLS, 4)
    params = write_params(
        tmp_path, clips=clips, checkpoint_interval=CHECKPOINT, sample_interval=clips, snapshot_interval=clips
    )
    text = (tmp_path / "params.yaml").read_text().replace("max_failures: 3", "max_failures: 100")
    (tmp_path / "params.yaml").write_text(text)
    shards = tmp_path / "outputs/shards"
    write_shards(shards)
    with connect(params.cluster):
        training_driver.train(params, shards=shards, output=tmp_path / "unbroken")
    rate = max(line["clips_per_second"] for line in log_of(tmp_path / "unbroken"))
    longest = longest_wait(rate)
    output, rng = tmp_path / "outputs/train", random.Random(0)

    def launch() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipelines.train"]
        with (tmp_path / "driver.log").open("ab") as log:
            return subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)

    driver, best, done, launches = launch(), -1, dict.fromkeys(VICTIMS, 0), 1
    while sum(done.values()) < KILLS:
        victim = VICTIMS[sum(done.values()) % len(VICTIMS)]
        begun = time.monotonic()
        while newest(output) <= best and driver.poll() is None and time.monotonic() - begun < TIMEOUT:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, longest))
        if driver.poll() is None and (process := find(driver, victim, rng)) is not None:
            family = psutil.Process(driver.pid).children(recursive=True)
            process.kill()
            done[victim] += 1
            if victim != "RayTrainWorker":
                driver.wait(timeout=TIMEOUT)
                psutil.wait_procs([p for p in family if not is_agent(p)], timeout=30)
        now = newest(output)
        assert now >= best, "a checkpoint is lost"
        best = now
        if driver.poll() == 0:
            break
        if driver.poll() is not None:
            driver, launches = launch(), launches + 1
    while driver.wait(timeout=600) != 0:
        assert launches < 3 * KILLS, (tmp_path / "driver.log").read_text()[-3000:]
        driver, launches = launch(), launches + 1
    print(f"{done} killed, {launches} launches")
    assert sum(done.values()) == KILLS and min(done.values()) >= KILLS // 3, done
    assert_same_weights(output, tmp_path / "unbroken")
    store = FolderStore(output / "checkpoints")
    for name in checkpoint.listed(store):
        assert checkpoint.read(store, name)["clips_seen"] == int(name)
    seen = [line["clips_seen"] for line in log_of(output)]
    assert seen == sorted(set(seen)) and seen[-1] == clips
