"""The names of a class-conditional generator's classes, in ``classes.json`` next to its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import write_json
from digan.errors import UserError, listed, suggestion

NAMES = "classes.json"
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def content(classes: Sequence[str]) -> dict[str, bytes]:
    """The file with the names, in the order of their numbers: name -> content; no file without classes."""
    return {NAMES: (json.dumps(list(classes), indent=1) + "\n").encode()} if classes else {}


def write(folder: Path, classes: Sequence[str]) -> None:
    """Write the names to a generator's folder; without classes remove the file."""
    if classes:
        write_json(folder / NAMES, list(classes), indent=1)
    else:
        (folder / NAMES).unlink(missing_ok=True)


def read(folder: Path, classes: int) -> list[str]:
    """The names in the folder of a generator with ``classes`` classes; none if the file is missing.

    Errors: ``UserError`` if the file is damaged.
    """
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
    if len(names) != classes or len(set(names)) != classes:
        raise UserError(f"{path}: has {len(set(names))} different names, the model {classes} classes; {remedy}")
    return names


def number_of(label: str, folder: Path, classes: int) -> int:
    """The number of a class that is given by name or by number from 0, for the generator in ``folder`` with ``classes`` classes.

    A name comes before a number. Errors: ``UserError`` if there is no such class, or if a number could be meant as a name,
    since classes are named by numbers.
    """
    if not classes:
        raise UserError(f"--label {label}: the model knows no classes; leave --label out")
    names = read(folder, classes)
    if label in names:
        return names.index(label)
    is_number = label.isdecimal() and int(label) < classes
    if is_number and any(_NUMBER.fullmatch(name) for name in names):
        problem = "is the name of no class, and its classes have numbers as names"
        raise UserError(f"--label {label}: {problem}; choose one of {listed(names)}")
    if is_number:
        return int(label)
    known = f"the model has the classes 0 to {classes - 1}"
    if not names:
        raise UserError(f"--label {label}: {known} and no names for them; give one of these numbers")
    raise UserError(f"--label {label}: {known}; {suggestion(label, names)}")
