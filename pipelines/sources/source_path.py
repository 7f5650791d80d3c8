"""A folder on S3 with the methods of ``pathlib.Path`` that sources use: listed once, list files read on demand."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TextIO

from digan.errors import UserError
from pipelines.storage import file_io
from pipelines.storage.file_io import Entry


class S3Path:
    """A path below a listed s3:// folder."""

    def __init__(self, root: str, name: PurePosixPath, listing: dict[PurePosixPath, Entry]) -> None:
        self._root, self._name, self._listing = root, name, listing

    def __truediv__(self, other: str | PurePath) -> S3Path:
        return S3Path(self._root, self._name / other, self._listing)

    def __str__(self) -> str:
        return file_io.join(self._root, *self._name.parts)

    __repr__ = __str__

    def is_file(self) -> bool:
        return self._name in self._listing

    def is_dir(self) -> bool:
        return not self._name.parts or any(self._name in name.parents for name in self._listing)

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_absolute(self) -> bool:
        return True

    def read_text(self, encoding: str = "utf-8") -> str:
        return file_io.read_bytes(str(self)).decode(encoding)

    def open(self, newline: str | None = None, encoding: str = "utf-8") -> TextIO:
        return io.TextIOWrapper(io.BytesIO(file_io.read_bytes(str(self))), encoding=encoding, newline=newline)

    def entry(self) -> tuple[int, str]:
        """Size and stamp of a file; of a folder, all its files together."""
        if (found := self._listing.get(self._name)) is not None:
            return found.bytes, found.content_tag
        below = [entry for name, entry in self._listing.items() if name.parent == self._name]
        digest = hashlib.sha256("\n".join(f"{entry.name} {entry.content_tag}" for entry in below).encode())
        return sum(entry.bytes for entry in below), f"{len(below)} {digest.hexdigest()[:32]}"

    def walk(self) -> Iterator[tuple[Path, list[str]]]:
        """Every folder below that holds files, relative to this one, with their names; hidden ones are passed over."""
        folders: dict[PurePosixPath, list[str]] = {}
        for name in self._listing:
            if self._name.parts and self._name not in name.parents:
                continue
            inner = name.relative_to(self._name)
            if not any(part.startswith(".") for part in inner.parts):
                folders.setdefault(inner.parent, []).append(inner.name)
        for folder in sorted(folders):
            yield Path(folder), sorted(folders[folder])


SourcePath = Path | S3Path


def open_path(address: str) -> SourcePath:
    """A path, or an s3:// folder with its listing; ``UserError`` where no object has this prefix."""
    if not file_io.is_remote(address):
        return Path(address).expanduser()
    listing = {PurePosixPath(entry.name): entry for entry in file_io.entries(address)}
    if not listing:
        raise UserError(f"source.path={address}: no object has this prefix; correct the bucket or the prefix")
    return S3Path(address, PurePosixPath(), listing)


def content_fields(place: SourcePath) -> dict[str, Any]:
    """The fields of a ``RawVideo`` that say where it is and, on S3, its size and content tag; a disk is not read."""
    if isinstance(place, S3Path):
        size, content_tag = place.entry()
        return {"path": str(place), "bytes": size, "content_tag": content_tag}
    return {"path": place}
