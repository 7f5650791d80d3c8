"""Atomic writing: a reader sees the old content or the new one, never a part, however many write at once.

Content is written under a random hidden name beside the target (``.NAME.<random>.part``), flushed to the disk and then
renamed. A killed writer leaves that hidden name behind; ``is_part`` recognizes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write ``data`` to the file ``path``, creating its folder, and return the path."""
    with replacing(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: PathLike, text: str) -> Path:
    """Write ``text`` as UTF-8, with line ends as they are."""
    return write_bytes(path, text.encode())


def write_json(path: PathLike, content: Any, *, indent: int = 2) -> Path:
    """Write ``content`` as indented JSON with a newline at the end."""
    return write_text(path, json.dumps(content, indent=indent) + "\n")


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a path at which to create a file or a folder; it replaces ``path`` when the block succeeds.

    When the block fails, ``path`` keeps its content and nothing else is left. A folder that replaces another one leaves
    ``path`` missing for the moment between two renames. An ``OSError`` without a file name, as for a full disk, gets
    ``path``.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    try:
        yield part
        _flush(part)
        _replace(part, target)
        _sync(target.parent)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) == part:
            error.filename = str(target)
        raise
    finally:
        _remove(part)


def is_part(name: str) -> bool:
    """Whether a file name is that of unfinished content."""
    return bool(re.fullmatch(r"\..+\.part", name, re.DOTALL))


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")


def _flush(part: Path) -> None:
    """Flush a file, or everything in a folder, so that no power cut leaves the new name with half of its content."""
    if part.is_dir():
        for folder, _, names in os.walk(part, topdown=False):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
    else:
        _sync(part)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(part: Path, target: Path) -> None:
    """Rename ``part``; a folder cannot replace a folder with content, so that one is renamed first."""
    old: list[Path] = []
    while True:
        try:
            part.replace(target)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old.append(_part_of(target))
        with contextlib.suppress(FileNotFoundError):  # another writer was faster
            target.replace(old[-1])
    for path in old:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
