"""The files of a data set below ``source.path``, on disk or on S3, and the errors for what its layout lacks."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from digan.errors import UserError
from pipelines.sources.config import CommonConfig
from pipelines.storage import file_io
from pipelines.storage.file_io import Entry
from pipelines.video.frame_folder import is_picture
from pipelines.video.raw_video import RawVideo

SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp")
)


class SourceFolder:
    """The folder ``source.path``; names in it are relative, with '/'. An S3 prefix is listed once, a disk when asked.

    ``contents`` says in errors what the folder should hold. ``UserError`` where there is no such folder.
    """

    def __init__(self, common: CommonConfig, contents: str) -> None:
        self._source, self.path = common.name, common.path
        self._entries: dict[str, Entry] | None = None
        if file_io.is_remote(self.path):
            self._entries = {entry.name: entry for entry in file_io.entries(self.path)}
            if not self._entries:
                raise self.error("no object has this prefix; correct the bucket or the prefix")
        elif not self.address("").exists():
            raise self.error(f"no such folder; give the path of {contents}")
        elif not self.address("").is_dir():
            raise self.error(f"is a file; give the path of {contents}")

    def error(self, text: str) -> UserError:
        """Return an error that begins with the key ``source.path`` and its value."""
        return UserError(f"source.path={self.path}: {text}")

    def address(self, name: str) -> Any:
        """Return the local ``Path`` or the s3:// address of ``name``."""
        if self._entries is not None:
            return file_io.join(self.path, name) if name else self.path
        return Path(self.path).expanduser() / name

    def is_file(self, name: str) -> bool:
        """Return whether a file exists."""
        return self.address(name).is_file() if self._entries is None else name in self._entries

    def is_dir(self, name: str) -> bool:
        """Return whether a folder exists; one on S3 holds at least one file."""
        if self._entries is None:
            return self.address(name).is_dir()
        return any(other.startswith(f"{name}/") for other in self._entries)

    def first_file(self, names: Sequence[str], contents: str) -> str:
        """Return the address of the first of ``names`` that exists."""
        found = next(filter(self.is_file, names), None)
        if found is None:
            others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
            raise self.error(f"holds no file {names[0]}{others}; {self._source} needs {contents}")
        return str(self.address(found))

    def files(self, below: str = "") -> list[str]:
        """Return the files at any depth, without hidden ones and hidden folders; links to folders are not followed."""
        if self._entries is None:
            return list(self._walk(below))
        if below and not self.is_dir(below):
            return []
        start = len(below) + 1 if below else 0
        inside = (name for name in self._entries if not below or name.startswith(f"{below}/"))
        return [name for name in inside if not any(part.startswith(".") for part in name[start:].split("/"))]

    def _walk(self, below: str) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise self.error(f"{error.filename} cannot be read; change its permissions") from error

        root = self.address("")
        for folder, folders, files in os.walk(root / below, onerror=fail):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inner = Path(folder).relative_to(root)
            yield from ((inner / name).as_posix() for name in sorted(files) if not name.startswith("."))

    def video_files(self, below: str = "") -> list[str]:
        """Return the files with the suffix of a video."""
        return [name for name in self.files(below) if Path(name).suffix.lower() in SUFFIXES and self.is_file(name)]

    def pictures(self, below: str = "") -> list[str]:
        """Return the png and jpg files."""
        return [name for name in self.files(below) if is_picture(name.rpartition("/")[2])]

    def frame_folders(self, below: str = "") -> list[str]:
        """Return the folders that hold pictures; '.' is the source's own."""
        return list(dict.fromkeys(str(PurePosixPath(name).parent) for name in self.pictures(below)))

    def video(self, file: str, *, name: str = "", **fields: Any) -> RawVideo:
        """Return the raw video at ``file``, which is also its name by default; from S3 with size and content tag."""
        if self._entries is not None:
            fields["bytes"], fields["content_tag"] = self._size_and_tag(file)
        return RawVideo(name=name or file, path=self.address(file), **fields)

    def _size_and_tag(self, name: str) -> tuple[int, str]:
        """Size and content tag of a file, or of the files directly in a folder."""
        assert self._entries is not None
        if (entry := self._entries.get(name)) is not None:
            return entry.bytes, entry.content_tag
        inside = self._by_folder[name]
        digest = hashlib.sha256("\n".join(f"{entry.name} {entry.content_tag}" for entry in inside).encode())
        return sum(entry.bytes for entry in inside), f"{len(inside)} {digest.hexdigest()[:32]}"

    @cached_property
    def _by_folder(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for name, entry in (self._entries or {}).items():
            found[name.rpartition("/")[0]].append(entry)
        return found


def read_csv(address: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV file whose heading must have ``columns``; cells are stripped of blanks."""
    try:
        text = file_io.read_bytes(address).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        missing = [column for column in columns if column not in (reader.fieldnames or [])]
        if missing:
            raise UserError(f"{address}, line 1: has no column {missing[0]}; the heading must be {','.join(columns)}")
        for row in reader:
            yield reader.line_num, {k: (cell or "").strip() for k, cell in row.items() if isinstance(k, str)}
    except UnicodeDecodeError as error:
        raise UserError(
            f"{address}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise UserError(f"{address}: is not a CSV file ({error}); write it again") from None
