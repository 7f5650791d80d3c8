"""Presets: parameters of the paper's runs and of the showcase, stored as differences from a base.

A preset file names another preset as its ``base``; ``demo.yaml`` is a complete copy of the project's params.yaml.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from digan.atomic import check_files_writable, write_text
from digan.errors import UserError, suggestion
from pipelines.arguments import run_command
from pipelines.params_file import flatten, read, set_values
from pipelines.storage.file_io import local

FOLDER = Path(__file__).parents[1] / "presets"
COMPLETE = "demo"  # the preset without a base
KEPT = "tune.space"  # the user's search space, which presets do not change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `digan preset`."""
    parser.add_argument("name", nargs="?", help="name of the preset; without it, all presets are listed")
    parser.add_argument("--params", type=local, default=Path("params.yaml"), help="the file (default: params.yaml)")
    parser.add_argument("--show", action="store_true", help="show the changes without writing them")
    parser.set_defaults(command=preset_command)


def preset_command(arguments: argparse.Namespace) -> None:
    """Run `digan preset NAME`: set the values in params.yaml, keeping its comments, and print the diff."""
    if arguments.name is None:
        for name in names():
            print(f"{name:16} {find(name).read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    diff = apply(arguments.name, arguments.params, write=not arguments.show)
    if diff:
        print(diff)
    state = "is" if not diff else "would change to" if arguments.show else "is now"
    print(f"{arguments.params}: {state} preset {arguments.name}")


def names() -> list[str]:
    """Return the names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """Return the file of a preset. Errors: ``UserError`` with the nearest name or all of them."""
    if name in names():
        return FOLDER / f"{name}.yaml"
    raise UserError(f"preset {name}: unknown; {suggestion(name, names())}; `digan preset` lists them")


def values(name: str) -> dict[str, Any]:
    """Return all values of a preset by dotted name, its own and those of its base."""
    own = read(find(name))
    base = own.pop("base", None)
    return {**(values(base) if base else {}), **flatten(own, keep=KEPT)}


def text(name: str, path: Path | None = None) -> str:
    """Return the text of the parameter file at ``path`` (default: the complete preset) with the values of a preset."""
    path, new = path or find(COMPLETE), {key: value for key, value in values(name).items() if key != KEPT}
    return set_values(path.read_text(encoding="utf-8"), new, path)


def apply(name: str, path: Path, *, write: bool) -> str:
    """Set the values of a preset in the file at ``path``, which may be missing; return the diff (empty: no change).

    Errors: ``UserError`` if the file is not a YAML file with sections.
    """
    new, old = text(name), ""
    if write:
        check_files_writable(path)
    if path.exists():
        read(path)  # rejects what is no parameter file
        old = path.read_text(encoding="utf-8")
        with suppress(UserError):  # a file of an older version lacks keys and is replaced
            new = text(name, path)
    if write and new != old:
        write_text(path, new)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith("@@"))


if __name__ == "__main__":
    run_command("cli.preset", __doc__, add_arguments, sys.argv[1:])
