"""What the data sets share: the keys of ``source``, the base classes of their configs, their files and their classes."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError, printable, suggestion
from pipelines.storage import file_io
from pipelines.storage.file_io import Entry
from pipelines.video.decoder import SUFFIXES
from pipelines.video.frame_folder import is_picture
from pipelines.video.raw_video import RawVideo

PARTS = ("train", "test", "both")
NO_CLASS = "has no class; move it into a class's folder"
NOT_UTF8 = "its name is not UTF-8; rename it"


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Which source, the path of its files, and which classes of it."""

    name: str
    path: str
    classes: bool
    only_classes: str
    max_rejected: float
    decoder: str


class RawSource:
    """A raw data set; a subclass is a dataclass with the keys of the section ``source.NAME``."""

    name: ClassVar[str]
    makes_videos: ClassVar[bool] = False  # if so, source.path may be empty
    has_classes: ClassVar[bool] = True

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List the videos from names and lists alone, without decoding. ``UserError`` where there are none."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OfficialSplit(RawSource):
    """A data set with a train and a test part; ``split`` names the part to train on, or is ``both``."""

    split: str

    def __post_init__(self) -> None:
        if self.split not in PARTS:
            raise UserError(f"source.{self.name}.split={self.split}: must be one of {', '.join(PARTS)}; try train")

    def split_of(self, part: str) -> str:
        """Return ``train`` for the videos of a part to train on, else ``val``."""
        return TRAIN if self.split in ("both", part) else VALIDATION


def split_names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def check_classes(common: CommonConfig, videos: list[RawVideo]) -> list[RawVideo]:
    """The videos in ``source.only_classes``, where videos without a class are rejected if classes are needed.

    ``UserError`` if such a class does not exist or no video has a class.
    """
    wanted = split_names(common.only_classes)
    check_known("source.only_classes", wanted, {video.class_name for video in videos if video.class_name}, "the videos")
    chosen = [video for video in videos if not wanted or video.class_name in wanted]
    without = [video for video in chosen if video.class_name is None]
    if not common.classes or not without:
        return chosen
    if len(without) == len(chosen):
        what = f"{len(without)} videos are in no class folder, such as {without[0].name}"
        raise UserError(f"source.classes=true: {what}; move them into sub-folders or set it to false")
    return [
        replace(video, rejected=video.rejected or NO_CLASS) if video.class_name is None else video for video in chosen
    ]


def class_folder(name: str) -> str | None:
    """Return the first folder of a video's name, which is its class; ``None`` if it is in no folder."""
    return name.split("/")[0] if "/" in name else None


def check_known(key: str, names: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise ``UserError`` if ``key`` asks for a class that does not exist."""
    for name in (name for name in names if name not in known):
        hint = suggestion(name, sorted(known)) if known else 'they have none, so set it to ""'
        raise UserError(f"{key}: {name} is no class of {where}; {hint}")


class SourceFolder:
    """The folder ``source.path``; names in it are relative, with '/'. An S3 prefix is listed once, a disk when asked.

    ``contents`` says in errors what the folder should hold. ``UserError`` where there is no such folder.
    """

    def __init__(self, common: CommonConfig, contents: str) -> None:
        self._source, self.path = common.name, common.path
        self._entries: dict[str, Entry] | None = None  # of an S3 prefix
        self._by_folder: dict[str, list[Entry]] = defaultdict(list)
        if file_io.is_remote(self.path):
            self._entries = {entry.name: entry for entry in file_io.entries(self.path)}
            if not self._entries:
                raise self.error("no object has this prefix; correct the bucket or the prefix")
        elif not self.address("").exists():
            raise self.error(f"no such folder; give the path of {contents}")
        elif not self.address("").is_dir():
            raise self.error(f"is a file; give the path of {contents}")

    def error(self, text: str) -> UserError:
        """An error that begins with the key ``source.path`` and its value."""
        return UserError(f"source.path={self.path}: {text}")

    def address(self, name: str) -> Any:
        """The local ``Path`` or the s3:// address of ``name``."""
        if self._entries is not None:
            return file_io.join(self.path, name) if name else self.path
        return file_io.local(self.path).absolute() / name

    def is_file(self, name: str) -> bool:
        return self.address(name).is_file() if self._entries is None else name in self._entries

    def is_dir(self, name: str) -> bool:
        if self._entries is None:
            return self.address(name).is_dir()
        return any(other.startswith(f"{name}/") for other in self._entries)

    def first_file(self, names: Sequence[str], contents: str) -> str:
        """The address of the first of ``names`` that exists."""
        for name in filter(self.is_file, names):
            return str(self.address(name))
        others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
        raise self.error(f"holds no file {names[0]}{others}; {self._source} needs {contents}")

    def files(self, below: str = "") -> list[str]:
        """The files at any depth, without hidden ones and hidden folders; links to folders are not followed."""
        if self._entries is None:
            return list(self._walk(below))
        start = f"{below}/" if below else ""
        return [name for name in self._entries if name.startswith(start) and "/." not in f"/{name[len(start) :]}"]

    def _walk(self, below: str) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise self.error(f"{error.filename} cannot be read; change its permissions") from error

        root = self.address("")
        for folder, folders, files in os.walk(root / below, onerror=fail):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inner = Path(folder).relative_to(root)
            yield from ((inner / name).as_posix() for name in sorted(files) if not name.startswith("."))

    def video_files(self, below: str = "") -> list[str]:
        return [name for name in self.files(below) if Path(name).suffix.lower() in SUFFIXES and self.is_file(name)]

    def pictures(self, below: str = "") -> list[str]:
        return [name for name in self.files(below) if is_picture(name.rpartition("/")[2])]

    def frame_folders(self, below: str = "") -> list[str]:
        """The folders that hold pictures; '.' is the source's own."""
        return list(dict.fromkeys(str(PurePosixPath(name).parent) for name in self.pictures(below)))

    def video(self, file: str, *, name: str = "", class_name: str | None = None, **fields: Any) -> RawVideo:
        """The raw video at ``file``, which is also its name by default; from S3 with size and content tag."""
        if self._entries is not None:
            fields["bytes"], fields["content_tag"] = self._size_and_tag(self._entries, file)
        name, path = name or file, self.address(file)
        if (shown := printable(name)) != name:
            return RawVideo(name=shown, path=path, class_name=class_name and printable(class_name), rejected=NOT_UTF8)
        return RawVideo(name=name, path=path, class_name=class_name, **fields)

    def _size_and_tag(self, entries: dict[str, Entry], name: str) -> tuple[int, str]:
        """Size and content tag of a file, or of the files directly in a folder."""
        if (entry := entries.get(name)) is not None:
            return entry.bytes, entry.content_tag
        if not self._by_folder:
            for each in entries.values():
                self._by_folder[each.name.rpartition("/")[0]].append(each)
        inside = self._by_folder[name]
        digest = hashlib.sha256("\n".join(f"{entry.name} {entry.content_tag}" for entry in inside).encode())
        return sum(entry.bytes for entry in inside), f"{len(inside)} {digest.hexdigest()[:32]}"


def read_csv(address: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV file whose heading must have ``columns``; cells are stripped of blanks."""
    try:
        text = file_io.read_bytes(address).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        if missing := [column for column in columns if column not in (reader.fieldnames or [])]:
            raise UserError(f"{address}, line 1: has no column {missing[0]}; the heading must be {','.join(columns)}")
        for row in reader:
            yield reader.line_num, {k: (cell or "").strip() for k, cell in row.items() if isinstance(k, str)}
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text ({error.reason} at byte {error.start})"
        raise UserError(f"{address}: {what}; save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{address}: is not a CSV file ({error}); write it again") from None
