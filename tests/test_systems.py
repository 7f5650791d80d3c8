"""Systems other than Linux on x86-64: calls that they lack are guarded, and packages that they lack are optional."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from digan import system
from digan.errors import UserError
from tests.conftest import ROOT

MODULES = frozenset(("fcntl", "resource", "pwd", "grp", "termios", "pty"))
ATTRIBUTES = frozenset(("sched_getaffinity", "sched_setaffinity", "mallopt", "malloc_trim", "memfd_create", "fork"))
GUARDED = {"digan/system.py": MODULES | ATTRIBUTES, "digan/training/numerics.py": {"mallopt"}}


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) for each use of a call or path that only some systems have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.lineno, str(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(text := node.value, str):
            yield from [(node.lineno, text)] if text.startswith(("/proc/", "/sys/")) or text in ATTRIBUTES else []


def test_calls_of_one_system_are_in_guarded_functions() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for package in ("digan", "pipelines", "benchmarks")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, what in uses(ast.parse(path.read_text()))
        if what not in GUARDED.get(path.relative_to(ROOT).as_posix(), ())
    ]
    assert not found, "move these to digan/system.py"


def test_the_walker_finds_such_calls() -> None:
    source = "import fcntl\nfrom resource import getrusage\nos.sched_getaffinity(0)\nopen('/proc/self/stat')\n"
    assert [line for line, _ in uses(ast.parse(source))] == [1, 2, 3, 4]


def test_systems_without_these_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for name in ("fcntl", "resource"):
        monkeypatch.setitem(sys.modules, name, None)
    assert system.available_cores() == os.cpu_count() and system.peak_memory() == 0
    with (tmp_path / "lock").open("w") as file, pytest.raises(UserError, match="no file locks"):
        system.lock_file(file)


def test_a_lock_holds_until_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"from digan.system import lock_file; f = open({str(path)!r}, 'w'); lock_file(f); print('held', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    with path.open("a") as file:
        with pytest.raises(BlockingIOError):
            system.lock_file(file)
        process.kill()
        process.wait()
        system.lock_file(file, wait=True)


def test_decord_is_required_only_where_it_has_a_wheel() -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (decord,) = (each for each in requirements if each.startswith("decord"))
    assert "platform_machine == 'x86_64'" in decord and "sys_platform == 'linux'" in decord


def test_the_package_wins_over_a_folder_of_its_name(tmp_path: Path) -> None:
    """As from the parent folder of a clone that is named digan: its folder has no __init__.py."""
    (tmp_path / "digan").mkdir()
    code = "import digan.errors, pipelines.params; print(digan.__file__)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, f"run make install again (Makefile: editable_mode=compat): {found.stderr}"
    assert found.stdout.strip().endswith("digan/__init__.py")
