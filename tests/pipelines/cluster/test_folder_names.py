"""A checkout in a folder whose name has characters that shells, addresses and patterns read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pathspec
import pytest

from pipelines.cluster import ray_cluster
from tests.conftest import ROOT
from tests.pipelines.cluster.ray_head import running_head
from tests.pipelines.small_run import write_params

NAME = "my project's (v2) $HOME 100% a?b#c & [ünï]; %41"


def test_ray_gets_a_quoted_python_where_a_shell_needs_one() -> None:
    assert ray_cluster._python("/opt/v-1/bin/python") == {}
    for path in (f"/data/{NAME}/bin/python", "/a b/python", 'a"b', "a\\b", "$x", "`x`", "ü"):
        environment = ray_cluster._python(path)
        assert shlex.split(environment["py_executable"]) == [path]
        said = subprocess.run(
            ["bash", "-c", f"printf %s {environment['py_executable']}"], capture_output=True, text=True
        )
        assert said.stdout == path


def test_code_is_sent_without_data_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["data[1]", "a b", "#old", "!new", "what?", "all*", "back\\slash"]
    for name in ("digan", "pipelines", *names):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(ray_cluster, "CHECKOUT", tmp_path)
    monkeypatch.setattr(ray_cluster, "IS_CHECKOUT", True)
    code = ray_cluster._code()
    assert code is not None
    excluded = pathspec.PathSpec.from_lines("gitwildmatch", code["excludes"])  # as Ray reads them
    assert [name for name in ("digan", "pipelines", *names) if not excluded.match_file(name)] == ["digan", "pipelines"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose name is ``NAME``, with a virtual environment and a params.yaml for a run of seconds."""
    folder = tmp_path / NAME
    folder.mkdir()
    for package in ("digan", "pipelines"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(folder, clips=40)
    params = folder / "params.yaml"
    text = re.sub(r"(?ms)^  uri:.*?^  experiment", "  uri: ''\n  experiment", params.read_text())
    params.write_text(re.sub("videos: 320", "videos: 12", text))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    packages = next((folder / ".venv").glob("lib/python*/site-packages"))
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run_stages(checkout: Path, **more: str) -> None:
    """Run ingest and train there; everything that they write must be in the folder."""
    dropped = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in dropped} | more
    for stage in ("ingest", "train"):
        command = [checkout / ".venv/bin/python", "-m", f"pipelines.{stage}"]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{stage}: {done.stdout}{done.stderr}"
    assert (checkout / "outputs/shards/index.json").is_file()
    assert (checkout / "outputs/train/generator/weights.pt").is_file()
    assert (checkout / "mlflow.db").is_file() and list((checkout / "mlartifacts").rglob("*.png"))
    assert [path.name for path in checkout.parent.iterdir()] == [NAME]


@pytest.mark.slow
def test_stages_run_in_a_checkout_with_such_a_name(checkout: Path) -> None:
    run_stages(checkout)


@pytest.mark.slow
@pytest.mark.parametrize("client", [False, True])
def test_stages_run_there_on_a_cluster_that_was_started_in_the_folder(checkout: Path, client: bool) -> None:
    """By its address, and by that of Ray's client server. The head's Python is elsewhere: `ray start --head` itself does not
    start from a Python at such a path (Ray 2.60).
    """
    with running_head(checkout) as head:
        run_stages(checkout, **head.environment, RAY_ADDRESS=head.client if client else head.address)
