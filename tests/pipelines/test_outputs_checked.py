"""An output that cannot be written is one line before the work starts, for all stages and commands that write."""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from digan import atomic
from pipelines.sweeps.sweep_state import SWEEP
from tests.conftest import ROOT
from tests.pipelines.small_run import write_params

STAGES = ("listing", "ingest", "train", "reference", "evaluate", "register", "tune", "cli.showcase")
LOCAL = re.compile(r"(?:outputs|metrics|reports|plots)\b[\w./]*")
A_FILE, A_FOLDER = "a file exists where a folder is needed", "a folder exists where a file is needed"


def outputs() -> list[tuple[str, str]]:
    """(stage, path) for each path that `--help` names as written."""
    found = []
    for stage in STAGES:
        text = Path(ROOT, "pipelines", *stage.split(".")).with_suffix(".py").read_text()
        written = re.search(r"^WRITES = (.+)$", text, re.M)
        assert written
        found += [(stage, path) for path in LOCAL.findall(written[1])]
    return found


def run(
    program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """The exit code of a program and what it writes to stderr."""
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"pipelines.{program}", run_name="__main__", alter_sys=True)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("stage", "path"), outputs())
@pytest.mark.parametrize("place", ["itself", "parent"])
def test_stage(
    stage: str,
    path: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    blocked = Path(path) if place == "itself" or len(Path(path).parts) == 1 else Path(path).parent
    blocked.parent.mkdir(exist_ok=True)
    is_file = blocked == Path(path) and bool(blocked.suffix)
    blocked.mkdir() if is_file else blocked.touch()
    code, line = run(stage, [], monkeypatch, capsys)
    assert code == 2 and line.count("\n") == 1
    assert re.match(rf"error: {blocked}[\w./]*: {A_FOLDER if is_file else A_FILE}", line)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    "command",
    [
        "sample --model m --out", "evaluate --real r --fake f --out", "sweep apply --yes --sweep sweep --params",
        "preset sky_16 --params",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["file/x", "folder", "x" * 300, "loop"])
def test_command(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    Path("sweep/trials").mkdir(parents=True)
    Path("sweep", SWEEP).write_text("{}")
    Path("file").touch()
    suffix = ".mp4" if command.startswith("sample") else ".json"
    Path(f"folder{suffix}").mkdir()
    Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
    code, line = run("cli.main", [*command.split(), name + suffix], monkeypatch, capsys)
    assert code == 2 and line.count("\n") == 1 and line.startswith("error: ") and name in line


def test_unwritable_cache_is_named_before_videos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name in "rf":
        (tmp_path / name).mkdir()
    arguments = ["evaluate", "--real", str(tmp_path / "r"), "--fake", str(tmp_path / "f")]
    code, line = run("cli.main", [*arguments, "--cache", str(tmp_path / "file/cache")], monkeypatch, capsys)
    assert code == 2 and line.startswith(f"error: {tmp_path / 'file/cache'}: {A_FILE}")


@pytest.mark.parametrize("stage", ["ingest", "train"])
def test_outputs_linked_to_a_missing_disk_are_one_line(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path)
    (tmp_path / "outputs").symlink_to(tmp_path / "no disk")
    monkeypatch.chdir(tmp_path)
    code, line = run(stage, [], monkeypatch, capsys)
    assert code == 2 and line.endswith(
        f"{tmp_path / 'outputs'} is a link to a missing folder; choose another path\n"
    ), line


def test_files_that_can_be_written_pass(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    atomic.check_files_writable(*(tmp_path / name for name in ("there", "new", "new/below", "dangling")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "there"]


def test_an_argument_that_is_not_utf8_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        "evaluate --real {} --fake f",
        "evaluate --real r --fake {}",
        "sample --model m --out {}",
        "info {}",
    ):
        arguments = [word.format(os.fsdecode(b"caf\xe9.mp4")) for word in command.split()]
        code, line = run("cli.main", arguments, monkeypatch, capsys)
        assert (code, line) == (2, "error: caf\\xe9.mp4: is not UTF-8; rename the file or folder\n")
