"""Files at an address: a local path or ``s3://bucket/prefix``. Written files appear whole or not at all.

``s3.py`` has the requests to S3. Callers that know a SHA-256 compare it themselves.
"""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from digan import atomic
from digan.errors import UserError
from pipelines.storage import s3

BUFFER_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file below an address: its relative name, size in bytes and a tag that changes with its content."""

    name: str
    bytes: int
    content_tag: str


def is_remote(address: str | Path) -> bool:
    """Whether this is an ``s3://`` address; ``UserError`` for any other scheme."""
    text = str(address)
    if text.startswith(s3.SCHEME):
        return True
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise UserError(f"{text}: {scheme[0]} addresses are not supported; give a path or s3://bucket/prefix")
    return False


def local(path: str | Path) -> Path:
    """A path on this machine, with ``~`` expanded; ``UserError`` if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no home folder is known for ~; give the whole path") from None


def join(address: str | Path, *parts: str) -> str:
    text = str(address)
    if is_remote(text):
        return "/".join([text.rstrip("/"), *(part.strip("/") for part in parts)])
    return str(Path(local(text), *parts))


def exists(address: str | Path) -> bool:
    """Whether the address has a file (on S3 an object; a prefix does not count)."""
    if not is_remote(address):
        return local(address).exists()
    try:
        return bool(s3.request(address, "head_object"))
    except FileNotFoundError:
        return False


def size(address: str | Path) -> int:
    """The file's size in bytes; ``FileNotFoundError`` if it is missing."""
    if not is_remote(address):
        return local(address).stat().st_size
    return int(s3.request(address, "head_object")["ContentLength"])


def read_bytes(address: str | Path) -> bytes:
    """The content of the file; ``FileNotFoundError`` if it is missing."""
    if not is_remote(address):
        return local(address).read_bytes()
    with open_read(address) as stream:
        return stream.read()


def write_bytes(address: str | Path, data: bytes) -> None:
    """Write a file, whole or not at all, and create its folders."""
    if is_remote(address):
        s3.upload(str(address), data)
    else:
        atomic.write_bytes(local(address), data)


def entries(address: str | Path) -> list[Entry]:
    """All complete files below the address, at any depth, sorted by name; empty if there are none."""
    if is_remote(address):
        found = [Entry(name=name, bytes=count, content_tag=etag) for name, count, etag in s3.listed(str(address))]
    else:
        root = local(address)
        found = [
            Entry(name=path.relative_to(root).as_posix(), bytes=stat.st_size, content_tag=str(stat.st_mtime_ns))
            for path in root.rglob("*")
            if path.is_file() and not atomic.is_part(path.name)
            for stat in (path.stat(),)
        ]
    return sorted(found, key=lambda entry: entry.name)


def list_names(address: str | Path) -> list[str]:
    """The relative names of all files below the address, at any depth, sorted."""
    return [entry.name for entry in entries(address)]


def open_read(address: str | Path, offset: int = 0) -> BinaryIO:
    """A stream of the file's bytes from ``offset``; objects on S3 are fetched while they are read.

    ``FileNotFoundError`` if the file is missing, ``UserError`` if an object changes while it is read.
    """
    if is_remote(address):
        return io.BufferedReader(s3.ObjectReader(str(address), offset), BUFFER_BYTES)
    stream = local(address).open("rb")
    stream.seek(offset)
    return stream


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file from or to a local path, whole or not at all; ``FileNotFoundError`` if it is missing."""
    if is_remote(target):
        s3.upload(str(target), local(source))
        return
    with open_read(source) as stream, atomic.replacing(local(target)) as part, part.open("wb") as copied:
        shutil.copyfileobj(stream, copied, BUFFER_BYTES)


def delete(address: str | Path) -> None:
    if is_remote(address):
        s3.request(address, "delete_object")
    else:
        local(address).unlink(missing_ok=True)
