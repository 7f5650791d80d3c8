"""The stage `train`: two workers from end to end, lost workers and drivers, rejected inputs."""

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

from digan import class_names
from digan.errors import UserError
from digan.generator_io import load_generator
from pipelines.cluster import train_worker, training_driver
from pipelines.cluster.ray_cluster import connect
from pipelines.params import Params
from pipelines.training_run import run_fingerprint, run_sync
from tests.pipelines.small_run import BATCH, CLIPS, RESOLUTION, assert_same_weights, log_of, write_params, write_shards


@dataclass(frozen=True)
class Project:
    folder: Path
    params: Params

    @property
    def shards(self) -> Path:
        return self.folder / "outputs/shards"

    @property
    def unbroken(self) -> Path:
        return self.folder / "unbroken"


class Messages:
    """Takes a worker's messages."""

    def send(self, message: object, *, wait: float = 0.0) -> None:
        pass


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Shards and params.yaml."""
    folder = tmp_path_factory.mktemp("line")
    project = Project(folder, write_params(folder))
    write_shards(project.shards)
    return project


@pytest.fixture(scope="module")
def ray_here(project: Project) -> Iterator[None]:
    """One private cluster for all tests that train in this process."""
    with connect(project.params.cluster):
        yield


@pytest.fixture(scope="module")
def unbroken(project: Project, ray_here: None) -> Path:
    """The output of an undisturbed run."""
    training_driver.train(project.params, shards=project.shards, output=project.unbroken)
    return project.unbroken


def relatives(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of its cluster, without Ray's agents, which may outlive it for a minute after a kill -9."""
    return [p for p in psutil.Process(driver.pid).children(recursive=True) if not p.name().endswith("Agent")]


def training(driver: subprocess.Popen[str], *, seconds: float = 90) -> list[psutil.Process]:
    """The same, once this driver has a worker; checkpoints may still be those of a killed driver's workers."""
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
    project: Project, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = json.loads((unbroken / "index.json").read_text())
    assert index["clips_seen"] == CLIPS and index["seconds"] > 0
    assert index["weights_digest"] == run_fingerprint.weights_digest(unbroken / "generator")
    assert index["config"]["training"]["batch_size"] == BATCH
    trained, untrained = load_generator(unbroken / "generator"), load_generator(unbroken / "initial_generator")
    assert trained.config.resolution == RESOLUTION
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), untrained.parameters(), strict=True)]
    assert any(moved)
    seen = [line["clips_seen"] for line in log_of(unbroken)]
    assert seen == sorted(set(seen)) and seen[-1] == CLIPS
    logged = {name for line in log_of(unbroken) for name in line}
    assert logged >= {
        *("clips_seen", "clips_per_second", "seconds_per_1000_clips", "seconds_left", "waiting", "memory_gb"),
        *("loss/generator", "loss/discriminator", "loss/r1", "gradients/generator", "gradients/discriminator"),
        *("gradients/r1", "logits/real_image", "signs/real_image", "signs/fake_motion"),
        "system/cpu_utilization_percentage",
    }
    assert [p.name for p in sorted((unbroken / "snapshots").iterdir())][-1] == f"{CLIPS:010d}"
    assert run_fingerprint.weights_digest(unbroken / "snapshots" / f"{CLIPS:010d}") == index["weights_digest"]
    assert sorted(p.name for p in (unbroken / "samples").iterdir()) == ["00000000.png", "00000120.png", "00000240.png"]
    steps = points(project.folder, index["run_id"], "loss/generator")
    assert steps == sorted(set(steps)) and steps[-1] == CLIPS
    assert status(project.folder, index["run_id"]) == "FINISHED"

    before = (unbroken / "index.json").stat().st_mtime_ns
    training_driver.train(project.params, shards=project.shards, output=unbroken)
    assert (unbroken / "index.json").stat().st_mtime_ns == before
    assert "nothing to do" in capsys.readouterr().out


def test_every_generator_of_a_training_knows_its_classes(tmp_path: Path) -> None:
    """Also those that a machine downloads from S3; the worker runs in this process, without Ray."""
    write_shards(tmp_path / "shards", classes=("0", "three"))
    params = write_params(tmp_path, clips=8, snapshot_interval=4, sample_interval=8)
    model, messages = params.model.config(resolution=RESOLUTION, classes=2), Messages()
    config = train_worker.WorkerConfig(
        training=params.training,
        model=model,
        classes=("0", "three"),
        shards=str(tmp_path / "shards"),
        output=str(tmp_path / "train"),
        threads=1,
        environment={},
        messages=messages,  # type: ignore[typeddict-item]
        objective=None,
    )
    train_worker._train(config, 0, 1, torch.device("cpu"))
    run_sync.fetch(str(tmp_path / "train"), tmp_path / "copy")
    for folder in ("initial_generator", "generator", "snapshots/0000000004", "snapshots/0000000008"):
        for output in ("train", "copy"):
            assert class_names.number_of("three", tmp_path / output / folder, 2) == 1
            assert load_generator(tmp_path / output / folder).config.classes == 2
    (tmp_path / "train/generator/classes.json").unlink()  # a run of an earlier version
    run_sync.fetch(str(tmp_path / "train"), tmp_path / "copy")
    assert not (tmp_path / "copy/generator/classes.json").exists()


@pytest.mark.slow
def test_weights_are_equal_after_a_killed_worker(
    project: Project, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = project.folder / "worker_killed"

    def kill() -> None:
        checkpoint_beyond(output, 80)
        workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
        workers[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    training_driver.train(project.params, shards=project.shards, output=output)
    killer.join()
    assert "restart 1 of at most 3" in capsys.readouterr().out
    assert_same_weights(output, unbroken)
    seen = [line["clips_seen"] for line in log_of(output)]
    assert seen == sorted(set(seen)) and seen[-1] == CLIPS


@pytest.mark.slow
def test_weights_are_equal_after_killed_and_interrupted_drivers(project: Project, unbroken: Path) -> None:
    output = project.folder / "outputs/train"
    command = [sys.executable, "-m", "pipelines.train"]

    def launch() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=project.folder, stderr=subprocess.PIPE, text=True, start_new_session=True)

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
        _, errors = again.communicate(timeout=60)
        assert again.returncode == 130 and "Traceback" not in errors, errors
        assert "to resume" in errors
        assert psutil.wait_procs(family, timeout=20)[1] == []
        run_id = json.loads((output / "run.json").read_text())["run_id"]
        assert status(project.folder, run_id) == "KILLED"

    third = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, timeout=120, check=False)
    assert third.returncode == 0, third.stderr
    assert_same_weights(output, unbroken)
    assert json.loads((output / "index.json").read_text())["run_id"] == run_id
    assert status(project.folder, run_id) == "FINISHED"
    steps = points(project.folder, run_id, "loss/generator")
    assert steps == sorted(set(steps)) and steps[-1] == CLIPS


def test_second_training_in_the_same_folder_is_rejected(tmp_path: Path) -> None:
    with (
        run_fingerprint.sole_writer(tmp_path / "train"),
        pytest.raises(UserError, match=f"process {os.getpid()} is training there"),
        run_fingerprint.sole_writer(tmp_path / "train"),
    ):
        pass


def test_missing_shards_are_reported_and_nothing_is_written(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ingest"):
        training_driver.train(project.params, shards=tmp_path / "shards", output=tmp_path / "train")
    assert not (tmp_path / "train").exists()


def test_shards_of_another_size_are_rejected(project: Project, tmp_path: Path) -> None:
    params = replace(project.params, clips=replace(project.params.clips, resolution=64))
    with pytest.raises(UserError, match=r"32 pixels .* asks for 64"):
        training_driver.train(params, shards=project.shards, output=tmp_path / "train")
