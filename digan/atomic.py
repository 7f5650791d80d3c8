"""Atomic writes: readers see the old content or the new content, never a mixture, also with concurrent writers.

Content is written to a hidden temporary path next to the target (``.NAME.<random>.part``), flushed to disk and renamed.
The name is random, so threads and processes may write one path at once. A killed writer leaves the temporary path behind;
``is_part`` recognizes it.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from digan.errors import UserError

PathLike = str | os.PathLike[str]
NAME_PART = 40  # characters of the target's name in a temporary one, which must not exceed 255 bytes


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write ``data`` to the file ``path``, creating its folder, and return the path."""
    with replacing(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: PathLike, text: str) -> Path:
    """Write ``text`` as UTF-8, without newline translation."""
    return write_bytes(path, text.encode())


def write_json(path: PathLike, content: Any, *, indent: int = 2) -> Path:
    """Write ``content`` as indented JSON with a newline at the end."""
    return write_text(path, json.dumps(content, indent=indent) + "\n")


def write_csv(path: PathLike, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write ``rows`` as CSV, with the keys of the first one as columns."""
    memory = io.StringIO()
    writer = csv.DictWriter(memory, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, memory.getvalue())


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path for a new file or folder, which replaces ``path`` when the block succeeds.

    When the block fails, ``path`` keeps its content and the temporary path is removed. Replacing a non-empty folder leaves
    ``path`` missing for a moment between two renames. A link stays a link: what it points to is replaced. An ``OSError``
    without a file name (disk full) gets ``path``.
    """
    target = Path(path)
    if target.is_symlink():
        target = target.resolve()
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
    """Whether ``name`` is a temporary name of unfinished content."""
    return bool(re.fullmatch(r"\..+\.part", name, re.DOTALL))


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name[:NAME_PART]}.{secrets.token_hex(6)}.part")


def _flush(part: Path) -> None:
    """Flush a file, or all files in a folder, to disk, so that the rename never precedes the content."""
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
    """Rename ``part`` to ``target``; a non-empty target folder, which cannot be replaced, is renamed first."""
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


def check_writable(*folders: Path) -> None:
    """Check that each folder is there or can be made, and takes files; ``OSError`` or ``UserError`` names the one that does not."""
    for folder in folders:
        present = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        try:
            tempfile.TemporaryFile(dir=present).close()
        except FileNotFoundError:
            kind = "is a link to a missing folder" if present.is_symlink() else "takes no files"
            where = str(folder) if present == folder.absolute() else f"{folder}: {present}"
            raise UserError(f"{where} {kind}; choose another path") from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error


def check_files_writable(*files: Path) -> None:
    """Check that each file can be written: no folder has its name, and its folder takes files; ``OSError`` names the file."""
    for file in files:
        try:
            if stat.S_ISDIR(file.stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file)) from error
        check_writable(file.parent)
