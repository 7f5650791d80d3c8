"""Presets: the parameters of the paper's runs and of the showcase, stored as what differs from a base.

A preset file names its ``base``, another preset; ``demo.yaml`` is the params.yaml that this project ships, whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from digan.atomic import write_text
from digan.errors import UserError
from pipelines.params_file import read, set_values

FOLDER = Path(__file__).parents[1] / "presets"
WHOLE = "demo"  # the preset without a base
KEPT = "tune.space"  # a user's own search space; no preset changes it


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """A preset's file; ``UserError`` with the nearest name where there is none."""
    if name in names():
        return FOLDER / f"{name}.yaml"
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
    raise UserError(f"preset {name}: there is none; nearest is {near[0]}, all are {', '.join(names())}")


def title(name: str) -> str:
    """The first line of a preset's file."""
    return find(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def values(name: str) -> dict[str, Any]:
    """All values of preset ``name`` by dotted name: those of its base with its own put in."""
    own = read(find(name))
    base = own.pop("base", None)
    return {**(values(base) if base else {}), **dict(_dotted(own))}


def text(name: str) -> str:
    """Preset ``name`` as a whole parameter file with comments."""
    return _put(find(WHOLE).read_text(encoding="utf-8"), name, FOLDER)


def apply(name: str, path: Path, *, write: bool) -> str:
    """Put the values of preset ``name`` into the file at ``path`` and return the diff, empty where nothing changes.

    A missing file is written whole. ``UserError`` where the file is no YAML with sections.
    """
    new, old = text(name), ""
    if path.exists():
        read(path)
        old = path.read_text(encoding="utf-8")
        with suppress(UserError):  # a file of an older version lacks keys and is replaced as a whole
            new = _put(old, name, path)
    if write and new != old:
        write_text(path, new)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith("@@"))


def _put(whole: str, name: str, place: Path) -> str:
    return set_values(whole, {key: value for key, value in values(name).items() if key != KEPT}, place)


def _dotted(sections: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in sections.items():
        if isinstance(value, Mapping) and prefix + key != KEPT:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
