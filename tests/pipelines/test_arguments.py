"""Every program `python -m pipelines.NAME` parses its arguments; `--help` tells what it reads and writes, and runs nothing."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.bounds import modules

ROOT = Path(__file__).resolve().parents[2]
INTERNAL = {"pipelines.video.isolation"}  # started by this project alone, with a socket
PROGRAMS = sorted(
    name
    for name, path in modules(ROOT, ("pipelines",)).items()
    if '__name__ == "__main__"' in path.read_text() and name not in INTERNAL
)
COMMANDS = ["pipelines.cli.main", *(f"pipelines.cli.{name}" for name in ("evaluate", "info", "preset", "sweep"))]
HOME_LINE = (
    "error: HOME: is not set, and the system knows no home folder of this user; set it to a folder that the user can write,"
    " such as HOME=/tmp"
)
NOT_READ = {"outputs/listing.json"}  # only tells DVC that the source has changed

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, *arguments: str) -> object:
    """The exit code of `python -m PROGRAM ARGUMENTS` in an empty folder, where it must leave nothing."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    assert list(folder.iterdir()) == []
    return ended.value.code


def test_all_stages_and_commands_are_programs() -> None:
    assert set(PROGRAMS) >= {f"pipelines.{name}" for name in (*stages(), "cli.showcase", "cli.summary")} | set(COMMANDS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_runs_nothing(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, program, "--help") == 0
    output = capsys.readouterr()
    assert output.out.startswith("usage: ") and output.err == ""
    if program not in COMMANDS:
        assert output.out.startswith(f"usage: python -m {program} ")
        assert re.search(r"^reads:  .+\nwrites: .+$", output.out, re.M)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [("--no-such-option",), ("-S", "training.clips=1"), ("params.yaml", "stray")])
def test_unknown_arguments_are_refused(
    program: str,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, tmp_path, program, *arguments) == 2
    assert re.fullmatch(r"error: .*--help`\n", capsys.readouterr().err)


# Runs programs as a user that has neither HOME nor an entry in the password database.
HOMELESS = """
import os, pwd, runpy, sys
def unknown(user): raise KeyError(f"getpwuid(): uid not found: {user}")
pwd.getpwuid = unknown
for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"): os.environ.pop(name, None)
for line in sys.argv[1:]:
    program, *options = line.split()
    sys.argv = [program, *options]
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(f"{program}: {end.code}", file=sys.stderr, flush=True)
"""
NEEDED = {"evaluate": "--real r --fake f", "info": "m", "sample": "--model m --out x.mp4", "preset": "demo"}


def test_a_user_without_home_gets_one_line(tmp_path: Path) -> None:
    verbs = [f"pipelines.cli.main {verb} {NEEDED.get(verb, 'show')}" for verb in (*NEEDED, "sweep")]
    own = [f"{name} {NEEDED.get(name.rpartition('.')[2], '')}" for name in PROGRAMS if name in COMMANDS[1:]]
    rest = [name for name in PROGRAMS if name not in COMMANDS]
    helps = [f"{name} --help" for name in PROGRAMS]
    command = [sys.executable, "-W", "ignore", "-c", HOMELESS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run(
        [*command, *helps, *verbs, *own, *rest],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert lines[: len(helps)] == [f"{name}: 0" for name in PROGRAMS]
    refused = [line for each in (*verbs, *own, *rest) for line in (HOME_LINE, f"{each.split()[0]}: 2")]
    assert lines[len(helps) :] == refused and not (tmp_path / "x.mp4").exists()


def stages() -> dict[str, Any]:
    """The stages of all dvc.yaml files by name."""
    files = (ROOT / "dvc.yaml", ROOT / "pipelines/sweeps/dvc.yaml")
    return {name: stage for file in files for name, stage in YAML(typ="safe", pure=True).load(file)["stages"].items()}


def paths(entries: list[Any]) -> Iterator[str]:
    """The paths of a list in dvc.yaml, some of which have options."""
    for entry in entries:
        yield next(iter(entry)) if isinstance(entry, dict) else entry


@pytest.mark.parametrize("name", stages())
def test_help_names_what_dvc_tracks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = stages()[name]
    run(monkeypatch, tmp_path, f"pipelines.{name}", "--help")
    found = re.search(r"^reads:  (.+)\nwrites: (.+)$", capsys.readouterr().out, re.M)
    assert found
    reads, writes = found.groups()
    deps = {path for path in paths(stage.get("deps", [])) if path.startswith(("outputs", "metrics"))}
    made = {path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))}
    for text, wanted in ((reads, deps - NOT_READ), (writes, made)):
        named = set(re.findall(r"[\w./]+", text))
        assert [path for path in wanted if not named & {path, *(str(p) for p in Path(path).parents)}] == []
    assert {key.partition(".")[0] for key in stage["params"]} <= set(re.findall(r"\w+", reads))
