"""Presets: whole parameter files of the paper's runs, and how one takes the place of params.yaml with its comments kept.

`digan preset NAME` for users; `python -m pipelines.preset` renews the files after a key or a comment of params.yaml has changed.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines import params
from pipelines.errors import run_stage

FOLDER = Path(__file__).parent / "presets"
KEY = re.compile(
    r"^(?P<indent>  (?:  )?)(?P<key>\w+): (?P<value>\"(?:[^\"\\]|\\.)*\"|[^#\n]*?)(?P<space>\s*)(?P<comment>#.*)?$"
)
COMMENT_COLUMN = 30
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "none", "y", "n")

Values = dict[str, dict[str, Any]]


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """A preset's file; ``UserError`` with the nearest name where there is none."""
    path = FOLDER / f"{name}.yaml"
    if name in names():
        return path
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
    raise UserError(f"preset {name}: there is none; nearest is {near[0]}, all are {', '.join(names())}")


def put(text: str, values: Values) -> str:
    """The parameter file ``text`` with other values; comments, order and unknown lines stay as they are, and so do whole
    mappings (the space of a sweep).

    ``UserError`` where a key of ``values`` is not in the text.
    """
    section, group, found, lines = "", "", set(), []
    for line in text.splitlines():
        if head := re.match(r"(\w+):", line):
            section = head[1]
        match, keys = KEY.match(line), values.get(section, {})
        if match and len(match["indent"]) == 4:
            keys = keys.get(group, {})
        elif match:
            group = match["key"]
        if match and isinstance(keys.get(match["key"]), dict):
            found.add((section, match["key"]))
            match = None
        if match and match["key"] in keys:
            found.add((section, match["key"]))
            start = f"{match['indent']}{match['key']}: {written(keys[match['key']])}"
            line = f"{start:{COMMENT_COLUMN}}{match['comment']}" if match["comment"] else start
            if match["comment"] and len(start) >= COMMENT_COLUMN:
                line = f"{start}  {match['comment']}"
        lines.append(line)
    missing = [f"{s}.{key}" for s, keys in values.items() for key in keys if (s, key) not in found]
    if missing:
        raise UserError(f"{missing[0]}: is not a key of the parameter file; every key is required, one a line")
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    """A value as it stands in the files: text in quotes only where YAML would read something else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT
        return value if plain else json.dumps(value, ensure_ascii=False)
    return str(value)


def changes(old: str, new: str, path: str) -> str:
    """What changes, as a unified diff without context; empty where nothing does."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, f"{path} (new)", n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith("@@"))


def apply(name: str, path: Path, *, write: bool) -> str:
    """Put preset ``name`` in the place of the file at ``path``; returns the diff. A file that is none of ours is refused."""
    from digan.atomic import write_bytes

    source = find(name)
    if not path.exists():
        new, old = source.read_text(encoding="utf-8"), ""
    else:
        params.read(path)  # refuses what is no parameter file at all
        old = path.read_text(encoding="utf-8")
        try:
            new = put(old, params.read(source))
        except UserError:  # a file of an older version: its place is taken as a whole
            new = source.read_text(encoding="utf-8")
    if write and new != old:
        write_bytes(path, new.encode())
    return changes(old, new, str(path))


def refreshed(path: Path, template: str) -> str:
    """A preset's file with the comments and keys of ``template`` (params.yaml) and its own values and first comment."""
    text = path.read_text(encoding="utf-8")
    values, known = params.read(path), params.read(params.DEFAULT_PATH)
    own = {s: {k: v for k, v in keys.items() if k in known.get(s, {})} for s, keys in values.items() if s in known}
    head = text[: text.index("source:")]
    return head + put(template[template.index("source:") :], own)


def _refresh() -> None:
    template = Path(params.DEFAULT_PATH).read_text(encoding="utf-8")
    for name in names():
        path = FOLDER / f"{name}.yaml"
        new = refreshed(path, template)
        if new != path.read_text(encoding="utf-8"):
            path.write_text(new, encoding="utf-8")
            print(f"renewed {path}", file=sys.stderr)


if __name__ == "__main__":
    run_stage(_refresh)
