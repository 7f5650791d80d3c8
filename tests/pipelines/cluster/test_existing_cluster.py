"""Every stage on a Ray cluster that is there already, started by `ray start --head` in another folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, WriteParams
from tests.pipelines.cluster.ray_head import RAY, Head, running_head, start
from tests.pipelines.sweeps.small_sweep import write_sweep
from tests.s3 import S3Server

STAGES = ("ingest", "reference", "train", "evaluate", "register", "tune")
SMALL: dict[str, Any] = {
    "source.toy": {"videos": 12, "classes": "coral_disc_right,leaf_ring_down", "seed": 0},
    "clips.frames": 4,
    "model.channel_base": 512,
    "model.channel_max": 4,
    "training.clips": 80,
    "training.checkpoint_interval": 40,
    "training.sample_interval": 80,
    "training.snapshot_interval": 40,
    "evaluation.detector": "transnetv2",
    "evaluation.videos": 8,
    "evaluation.curve_videos": 8,
    "evaluation.draws": 2,
    "tune.trials": 1,
    "tune.clips": 40,
    "tune.grace_period": 40,
    "tune.videos": 8,
}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with tempfile.TemporaryDirectory(prefix="dgw", dir="/tmp") as folder, running_head(Path(folder)) as started:
        yield started


def run(stage: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command, variables = [sys.executable, "-m", f"pipelines.{stage}"], {**environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=400, check=False)


def run_every_stage(head: Head, folder: Path, **more: str) -> None:
    for stage in STAGES:
        done = run(stage, folder, head.environment | {"RAY_ADDRESS": head.address} | more)
        assert done.returncode == 0, f"{stage}: {done.stdout}{done.stderr}"
    assert json.loads((folder / "outputs/register/result.json").read_text())["model"]
    assert len((folder / "metrics/sweep.csv").read_text().splitlines()) == 2
    assert not (Path(head.environment["HOME"]) / "outputs").exists()


@pytest.mark.slow
def test_every_stage_runs_on_it(head: Head, tmp_path: Path, write_params: WriteParams) -> None:
    write_params({**SMALL, "cluster.workers": 1})
    run_every_stage(head, tmp_path)
    assert (tmp_path / "outputs/train/generator/weights.pt").is_file()


@pytest.mark.slow
def test_every_stage_runs_on_it_with_shards_on_s3(
    head: Head, tmp_path: Path, write_params: WriteParams, s3_bucket: str, s3_server: S3Server
) -> None:
    write_params({**SMALL, "cluster.workers": 1, "shards.address": f"{s3_bucket}/shards"})
    run_every_stage(head, tmp_path, **s3_server.environment)
    assert not list((tmp_path / "outputs/shards").rglob("*.tar"))


@pytest.mark.slow
def test_machine_that_does_not_see_the_folder_is_refused_before_the_start(head: Head, tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.getuid() or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root and mount namespaces")
    hidden = tmp_path / "hidden"
    write_sweep(hidden / "project", trials=1)
    (hidden / "new").mkdir()
    shutil.copy(hidden / "project/params.yaml", hidden / "new")
    hide = ["bash", "-c", 'mount -t tmpfs none "$0" && exec "$@"', hidden]
    join = [*RAY, "start", "--block", f"--address={head.address}", "--num-cpus=1"]
    with start([*unshare, *hide, *join], tmp_path, head.environment, tmp_path / "log"):
        for stage, folder, what in (
            ("ingest", "new", "the "),
            ("train", "project", "the s"),
            ("tune", "project", "the s"),
        ):
            done = run(stage, hidden / folder, head.environment | {"RAY_ADDRESS": head.address})
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower() or "Traceback" in line]
            assert done.returncode == 2 and len(lines) == 1, f"{stage}: {done.stdout}{done.stderr}"
            assert lines[0].startswith(f"error: machine {platform.node()}: does not see {what}"), lines
    assert not [path for path in hidden.rglob("*") if path.suffix == ".pt" or path.name.startswith(".reach-")]
