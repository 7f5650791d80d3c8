"""The names of a class-conditional generator's classes, in ``classes.json`` beside its weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from digan.errors import UserError
from pipelines.storage import file_io

NAMES = "classes.json"


def write(folder: Path, classes: Sequence[str]) -> None:
    """Put the names into a generator's folder, in the order of their numbers; without classes there is no such file."""
    if classes:
        file_io.write_bytes(folder / NAMES, (json.dumps(list(classes), indent=1) + "\n").encode())
    else:
        (folder / NAMES).unlink(missing_ok=True)


def read(folder: Path) -> list[str]:
    """The names in a generator's folder; none where the file is missing. ``UserError`` where it is damaged."""
    path = folder / NAMES
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); restore it, or remove it and give --label a number") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: is no list of names; restore it, or remove it and give --label a number")
    return names


def number_of(label: str, folder: Path, classes: int) -> int:
    """The class that a name, or a number from 0, means to the generator in ``folder``, which knows so many ``classes``.

    ``UserError`` where there is no such class.
    """
    names = read(folder)
    if label in names:
        return int(names.index(label))
    if label.isdecimal() and int(label) < classes:
        return int(label)
    if not classes:
        raise UserError(f"--label {label}: the model knows no classes; leave --label out")
    near = difflib.get_close_matches(label, names, n=1, cutoff=0.0)
    hint = f"; nearest is {near[0]}" if near else ""
    raise UserError(f"--label {label}: the model has the classes 0 to {classes - 1}{hint}")
