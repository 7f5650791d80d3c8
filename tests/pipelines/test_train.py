"""The stage `train`: two workers from end to end, lost workers and drivers, when a run goes on or starts over."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import torch

from digan.checkpointing import load_generator
from digan.errors import UserError
from pipelines import train
from pipelines.params import Params
from pipelines.services import origin
from pipelines.services.cluster import connect
from tests.pipelines.small_run import (
    BATCH,
    CLIPS,
    RESOLUTION,
    assert_same_weights,
    log_of,
    write_params,
    write_shards,
)


@dataclass(frozen=True)
class Place:
    folder: Path
    params: Params

    @property
    def shards(self) -> Path:
        return self.folder / "outputs/shards"

    @property
    def unbroken(self) -> Path:
        return self.folder / "unbroken"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Shards and params.yaml."""
    folder = tmp_path_factory.mktemp("line")
    place = Place(folder, write_params(folder))
    write_shards(place.shards)
    return place


@pytest.fixture(scope="module")
def ray_here(place: Place) -> Iterator[None]:
    """One private cluster for all tests that train in this process."""
    with connect(place.params.cluster):
        yield


@pytest.fixture(scope="module")
def unbroken(place: Place, ray_here: None) -> Path:
    """The output of a run that nothing has disturbed."""
    train.train(place.params, shards=place.shards, output=place.unbroken)
    return place.unbroken


def relatives(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of its cluster; Ray's two agents, which do nothing, stay for a minute after a kill -9."""
    return [p for p in psutil.Process(driver.pid).children(recursive=True) if not p.name().endswith("Agent")]


def training(driver: subprocess.Popen[str], *, seconds: float = 90) -> list[psutil.Process]:
    """The same, once a worker is there: what an earlier driver's workers still wrote after its death says nothing of this one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = relatives(driver)
        if any("RayTrainWorker" in process.name() for process in found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"no worker within {seconds} s")


def points(folder: Path, run_id: str, metric: str) -> list[int]:
    with sqlite3.connect(folder / "mlflow.db") as store:
        rows = store.execute("select step from metrics where run_uuid = ? and key = ? order by step", (run_id, metric))
        return [step for (step,) in rows]


def status(folder: Path, run_id: str) -> str:
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute("select status from runs where run_uuid = ?", (run_id,)).fetchone()[0]


def checkpoint_beyond(output: Path, clips: int, *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        folder = output / "checkpoints"
        if folder.is_dir() and any(p.name.isdigit() and int(p.name) >= clips for p in folder.iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint beyond {clips} clips within {seconds} s")


def test_two_workers_from_shards_to_a_generator(
    place: Place, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = json.loads((unbroken / "index.json").read_text())
    assert index["clips_seen"] == CLIPS and index["seconds"] > 0
    assert index["weights_digest"] == origin.weights_digest(unbroken / "generator")
    assert index["config"]["training"]["batch_size"] == BATCH
    trained, untrained = load_generator(unbroken / "generator"), load_generator(unbroken / "initial_generator")
    assert trained.config.resolution == RESOLUTION
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), untrained.parameters(), strict=True)]
    assert any(moved)
    seen = [line["clips_seen"] for line in log_of(unbroken)]
    assert seen == sorted(set(seen)) and seen[-1] == CLIPS
    told = {name for line in log_of(unbroken) for name in line}
    assert told >= {
        *("clips_seen", "clips_per_second", "seconds_per_1000_clips", "seconds_left", "waiting", "memory_gb"),
        *("loss/generator", "loss/discriminator", "loss/r1", "gradients/generator", "gradients/discriminator"),
        *("gradients/r1", "logits/real_image", "signs/real_image", "signs/fake_motion"),
        "system/cpu_utilization_percentage",
    }
    assert [p.name for p in sorted((unbroken / "snapshots").iterdir())][-1] == f"{CLIPS:010d}"
    assert origin.weights_digest(unbroken / "snapshots" / f"{CLIPS:010d}") == index["weights_digest"]
    assert sorted(p.name for p in (unbroken / "samples").iterdir()) == ["00000000.png", "00000120.png", "00000240.png"]
    steps = points(place.folder, index["run_id"], "loss/generator")
    assert steps == sorted(set(steps)) and steps[-1] == CLIPS
    assert status(place.folder, index["run_id"]) == "FINISHED"

    before = (unbroken / "index.json").stat().st_mtime_ns
    train.train(place.params, shards=place.shards, output=unbroken)
    assert (unbroken / "index.json").stat().st_mtime_ns == before
    assert "nothing to do" in capsys.readouterr().out


def test_a_killed_worker_costs_no_bit(place: Place, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = place.folder / "worker_killed"

    def kill() -> None:
        checkpoint_beyond(output, 80)
        workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
        workers[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    train.train(place.params, shards=place.shards, output=output)
    killer.join()
    assert "restart 1 of at most 3" in capsys.readouterr().out
    assert_same_weights(output, unbroken)
    seen = [line["clips_seen"] for line in log_of(output)]
    assert seen == sorted(set(seen)) and seen[-1] == CLIPS


@pytest.mark.slow
def test_a_killed_driver_and_an_interrupted_one_cost_no_bit(place: Place, unbroken: Path) -> None:
    output = place.folder / "outputs/train"
    command = [sys.executable, "-m", "pipelines.train"]

    def launch() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=place.folder, stderr=subprocess.PIPE, text=True, start_new_session=True)

    first = launch()
    checkpoint_beyond(output, 80)
    family = relatives(first)
    first.kill()
    first.communicate()
    assert psutil.wait_procs(family, timeout=20)[1] == []

    # Ctrl-C reaches the whole group, a scheduler's SIGTERM the driver alone
    for stop in (lambda p: os.killpg(p.pid, signal.SIGINT), lambda p: p.terminate()):
        again = launch()
        family = training(again)
        stop(again)
        _, told = again.communicate(timeout=60)
        assert again.returncode == 130 and "Traceback" not in told, told
        assert "to resume" in told
        assert psutil.wait_procs(family, timeout=20)[1] == []
        run_id = json.loads((output / "run.json").read_text())["run_id"]
        assert status(place.folder, run_id) == "KILLED"

    third = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=120, check=False)
    assert third.returncode == 0, third.stderr
    assert_same_weights(output, unbroken)
    assert json.loads((output / "index.json").read_text())["run_id"] == run_id
    assert status(place.folder, run_id) == "FINISHED"
    steps = points(place.folder, run_id, "loss/generator")
    assert steps == sorted(set(steps)) and steps[-1] == CLIPS


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        origin.sole_writer(tmp_path / "train"),
        pytest.raises(UserError, match=f"process {os.getpid()} is training there"),
        origin.sole_writer(tmp_path / "train"),
    ):
        pass


def test_without_shards_there_is_one_line_and_nothing_written(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ingest"):
        train.train(place.params, shards=tmp_path / "shards", output=tmp_path / "train")
    assert not (tmp_path / "train").exists()


def test_shards_of_another_size_are_refused(place: Place, tmp_path: Path) -> None:
    params = replace(place.params, clips=replace(place.params.clips, resolution=64))
    with pytest.raises(UserError, match=r"32 pixels .* asks for 64"):
        train.train(params, shards=place.shards, output=tmp_path / "train")
