"""`dvc exp run` names the experiment to its stages, and the command of README.md shows what matters of experiments."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DVC_FILE = """stages:
  train:
    cmd: python stage.py
    deps: [stage.py]
    params: [training]
    metrics: [metrics.json, run.json]
"""
STAGE = """import json
from pipelines.training_run.provenance import experiment_name
from ruamel.yaml import YAML
gamma = YAML(typ="safe", pure=True).load(open("params.yaml"))["training"]["r1_gamma"]
one = {key: gamma + number for number, key in enumerate(("mean", "std", "low", "high", "spread"))}
json.dump({"metric": "fvd", "fvd": one, "weights_digest": str(gamma), "seed": 0}, open("metrics.json", "w"))
json.dump({"run_id": f"run-{gamma}", "experiment": experiment_name()}, open("run.json", "w"))
"""


@pytest.mark.slow
def test_command_in_readme_shows_metrics_and_changed_settings(tmp_path: Path) -> None:
    found = re.search(r"^dvc (exp show --only-changed .+)$", (ROOT / "README.md").read_text(), re.M)
    assert found
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text(DVC_FILE)
    (tmp_path / "stage.py").write_text(STAGE)
    for line in ("init -q", "config user.email a@b.c", "config user.name a"):
        run("git", *line.split())
    for command in ("dvc init -q", "dvc repro -q", "git add .", "git commit -qm base"):
        run(*command.split())
    assert json.loads((tmp_path / "run.json").read_text())["experiment"] is None
    run("dvc", "exp", "run", "-q", "-n", "brave-mole", "-S", "training.r1_gamma=2.0")
    assert json.loads((tmp_path / "run.json").read_text())["experiment"] == "brave-mole"

    everything = run("dvc", "exp", "show", "--csv").splitlines()
    table = [line.split(",") for line in run("dvc", *shlex.split(found[1]), "--csv").splitlines()]
    assert len(everything[0].split(",")) > 90
    assert table[0] == ["Experiment", "fvd.mean", "fvd.spread", "training.r1_gamma"]
    assert ["brave-mole", "2.0", "6.0", "2.0"] in table
