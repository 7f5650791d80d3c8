"""Reads and edits params.yaml as YAML; ``params`` checks the values."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString

from digan.errors import UserError
from digan.redaction import redacted

PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null|none|y|n)$)[A-Za-z][A-Za-z0-9_./-]*", re.IGNORECASE)


def read(path: str | Path) -> dict[str, Any]:
    """Return the values of a YAML file with sections. Errors: ``UserError``, also for duplicate keys."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file in {Path.cwd()}; run from the folder that has it") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; must be a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    values: dict[str, Any] = _parse(YAML(typ="safe", pure=True), text, path)
    return values


def set_values(text: str, values: Mapping[str, Any], path: str | Path) -> str:
    """Set ``values`` (by dotted name) in the ``text`` of a parameter file, keeping comments, order and quotes.

    Errors: ``UserError``, which names ``path``, if the file has no such key.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10**6
    content = _parse(yaml, text, path)
    for name, value in values.items():
        *sections, key = name.split(".")
        node: Any = content
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if not isinstance(node, dict) or key not in node:
            raise UserError(f"{path}: has no key {name}; every key is required")
        if node[key] != value or isinstance(value, bool) != isinstance(node[key], bool):
            node[key] = _styled(value, node[key])
    return dump(content, yaml)


def flatten(values: Mapping[str, Any], *, keep: str = "", prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name; the mapping named ``keep`` stays a mapping."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and name != keep
        flat |= flatten(value, keep=keep, prefix=f"{name}.") if nested else {name: value}
    return flat


def dump(values: Mapping[str, Any], yaml: YAML | None = None) -> str:
    """Return ``values`` as YAML in block style."""
    stream = io.StringIO()
    (yaml or YAML()).dump(values, stream)
    return stream.getvalue()


def _styled(value: Any, old: Any) -> Any:
    """Return ``value`` in the quotes of ``old``; text that could be read as another type is always quoted."""
    if not isinstance(value, str):
        return value
    if isinstance(old, ScalarString):
        return type(old)(value)
    return value if PLAIN.fullmatch(value) else DoubleQuotedScalarString(value)


def _parse(yaml: YAML, text: str, path: str | Path) -> Any:
    try:
        values = yaml.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"{path}, line {mark.line + 1 if mark else 'unknown'}"
        problem = str(getattr(error, "problem", None) or error).strip().partition("\n")[0]
        if isinstance(error, DuplicateKeyError):
            raise UserError(f"{where}: duplicate key ({problem}); keep one") from None
        raise UserError(f"{where}: not valid YAML ({problem})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold sections such as `training:`, not {shown(values)}")
    return values


def shown(value: Any) -> str:
    """Format a value for messages, without credentials."""
    if value is None:
        return "(nothing)"
    if isinstance(value, bool):
        return str(value).lower()
    text = redacted(str(value))
    text = f'"{text}"' if isinstance(value, str) else text
    return text if len(text) <= 60 else text[:57] + "..."
