"""The names of a class-conditional generator's classes, in ``classes.json`` next to its weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import write_json
from digan.errors import UserError

NAMES = "classes.json"


def write(folder: Path, classes: Sequence[str]) -> None:
    """Write the names, in the order of their numbers, to a generator's folder; without classes remove the file."""
    if classes:
        write_json(folder / NAMES, list(classes), indent=1)
    else:
        (folder / NAMES).unlink(missing_ok=True)


def read(folder: Path) -> list[str]:
    """The names in a generator's folder; none if the file is missing. Errors: ``UserError`` if it is damaged."""
    path = folder / NAMES
    if not path.is_file():
        return []
    remedy = "restore it, or remove it and give --label a number"
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); {remedy}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: is no list of names; {remedy}")
    return names


def number_of(label: str, folder: Path, classes: int) -> int:
    """The number of a class given by name or by number from 0, for the generator in ``folder`` with ``classes`` classes."""
    names = read(folder)
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < classes:
        return int(label)
    if not classes:
        raise UserError(f"--label {label}: the model knows no classes; leave --label out")
    near = difflib.get_close_matches(label, names, n=1, cutoff=0.0)
    hint = f"; nearest is {near[0]}" if near else ""
    raise UserError(f"--label {label}: the model has the classes 0 to {classes - 1}{hint}")
