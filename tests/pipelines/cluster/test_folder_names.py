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
from tests.pipelines.small_run import write_params, write_shards

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


@pytest.mark.slow
def test_training_runs_in_a_checkout_with_such_a_name(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for package in ("digan", "pipelines"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(folder, clips=40)
    params = folder / "params.yaml"
    params.write_text(re.sub(r"(?ms)^  uri:.*?^  experiment", "  uri: ''\n  experiment", params.read_text()))
    write_shards(folder / "outputs/shards")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    packages = next((folder / ".venv").glob("lib/python*/site-packages"))
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [folder / ".venv/bin/python", "-m", "pipelines.train"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "outputs/train/generator/weights.pt").is_file()
    assert (folder / "mlflow.db").is_file() and list((folder / "mlartifacts").rglob("*.png"))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
