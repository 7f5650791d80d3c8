"""The project's own checks of `make lint`."""

from __future__ import annotations

from pathlib import Path

from tests import bounds


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / "digan" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_file_of_301_lines_is_named(tmp_path: Path) -> None:
    write(tmp_path, short="x = 1\n" * 300, long="x = 1\n" * 301)
    assert bounds.violations(tmp_path) == ["digan/long.py: 301 lines, at most 300; split it by purpose"]


def test_import_cycle_through_a_function_is_named(tmp_path: Path) -> None:
    write(tmp_path, a="from digan import b\n", b="def f():\n    from digan.c import x\n", c="import digan.a\nx = 1\n")
    assert bounds.violations(tmp_path) == ["import cycle: digan.a, digan.b, digan.c"]


def test_chain_of_imports_is_not_a_cycle(tmp_path: Path) -> None:
    write(tmp_path, a="from digan import b\n", b="from digan import c\n", c="import torch\n")
    assert bounds.violations(tmp_path) == []
