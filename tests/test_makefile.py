"""The Makefile in a checkout whose path has characters that shells read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipelines.cluster.test_folder_names import NAME

PYTHON = '#!/bin/bash\necho "$0 $*|$VIRTUAL_ENV|${PATH%%:*}" >> calls\necho ray==1\n'


@pytest.mark.parametrize(
    ("target", "environment", "last"),
    [
        ("test-oldest", ".venv-oldest", "-m pytest -n 2 --dist loadfile -m not slow and not cluster and not gpu"),
        ("test-newest", ".venv-newest", "-m pytest -n 2 --dist loadfile -m not slow and not cluster and not gpu"),
        ("demo", ".venv", "-m pipelines.cli.summary"),
        ("lint", ".venv", "-m tests.bounds"),
        ("install", ".venv", "-m dvc config --local --quiet core.no_scm true"),
    ],
)
def test_target_runs_in_any_folder(target: str, environment: str, last: str, tmp_path: Path) -> None:
    """In place of Python runs a script that writes down how it was called."""
    folder = tmp_path / NAME
    for name in (".venv", environment):
        python = folder / name / "bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(PYTHON)
        python.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PARALLEL"))
    }
    done = subprocess.run(
        ["make", "PYTHON=.venv/bin/python", target], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    called = (folder / "calls").read_text().splitlines()
    assert called[-1] == f"{environment}/bin/python {last}|{folder / environment}|{folder / environment}/bin"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
