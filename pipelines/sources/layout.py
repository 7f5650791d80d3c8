"""What sources share: their folder and what it holds, list files, official parts, and the choice of classes."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from digan.errors import UserError
from pipelines.sources.config import CommonConfig, OfficialSplit
from pipelines.sources.source_path import S3Path, SourcePath, content_fields, open_path
from pipelines.video.frame_folder import is_picture, numeric
from pipelines.video.raw_video import RawVideo

VIDEOS = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp")
)


def root_of(common: CommonConfig, what: str) -> SourcePath:
    """``source.path`` as a folder, on a disk or on S3; ``what`` names what it should hold."""
    root = open_path(common.path)
    if not root.exists():
        raise UserError(f"source.path={common.path}: no such folder; give the path of {what}")
    if not root.is_dir():
        raise UserError(f"source.path={common.path}: is a file; give the path of {what}")
    return root


def part_of(common: CommonConfig, root: SourcePath, name: str, what: str) -> SourcePath:
    """A folder that the data set's layout has in ``root``."""
    if not (root / name).is_dir():
        raise UserError(f"source.path={common.path}: holds no folder {name}; {common.name} expects {what} there")
    return root / name


def list_of(common: CommonConfig, root: SourcePath, names: Sequence[str], what: str) -> SourcePath:
    """The first of ``names`` that exists in ``root``."""
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found is None:
        others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
        raise UserError(f"source.path={common.path}: holds no file {names[0]}{others}; {common.name} needs {what}")
    return found


def walk(common: CommonConfig, root: SourcePath) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below ``root`` and itself, relative to it, with the names of its files; hidden ones are passed over
    and links to folders are not followed.
    """

    def refuse(error: OSError) -> None:
        raise UserError(
            f"source.path={common.path}: {error.filename} may not be read; change its permissions"
        ) from error

    if isinstance(root, S3Path):
        yield from root.walk()
        return
    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder).relative_to(root), sorted(name for name in files if not name.startswith("."))


def video_files(common: CommonConfig, root: SourcePath) -> list[Path]:
    """Every file below ``root`` with the suffix of a video, relative to it."""
    return [
        folder / name
        for folder, files in walk(common, root)
        for name in files
        if Path(name).suffix.lower() in VIDEOS and (root / folder / name).is_file()
    ]


def frame_folders(common: CommonConfig, root: SourcePath) -> list[Path]:
    """Every folder below ``root`` that holds pictures, relative to it."""
    return [folder for folder, files in walk(common, root) if any(map(is_picture, files))]


def picture_files(common: CommonConfig, root: SourcePath) -> list[Path]:
    """Every picture below ``root``, relative to it, in the order of the numbers in their paths."""
    found = [folder / name for folder, files in walk(common, root) for name in files if is_picture(name)]
    return sorted(found, key=lambda path: numeric(path.as_posix()))


def class_folder(path: Path) -> str | None:
    """The first folder of a relative path, which names the class; ``None`` if the video is in no folder."""
    return path.parts[0] if len(path.parts) > 1 else None


def read_csv(path: SourcePath, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as (line, row), whose heading must have ``columns``; cells are stripped of blanks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{path}, line 1: has no column {missing[0]}; the heading must be {','.join(columns)}")
            for row in reader:
                yield reader.line_num, {k: (cell or "").strip() for k, cell in row.items() if isinstance(k, str)}
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: is not a CSV file ({error}); write it again") from None


@dataclass(frozen=True, kw_only=True)
class OfficialFrames(OfficialSplit):
    """A data set of folders of frames, without classes; ``folders`` maps the parts to the folders that hold them."""

    folders: ClassVar[tuple[tuple[str, str], ...]]
    window_mode: ClassVar[Literal["disjoint", "phases"]]
    has_classes = False

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """Every folder of frames in both parts."""
        root = root_of(common, f"the folder that holds {' and '.join(name for _, name in self.folders)}")
        found = []
        for part, name in self.folders:
            folder = part_of(common, root, name, "a folder of frames for each video")
            videos = [video for video in frame_folders(common, folder) if video.parts]
            if not videos:
                raise UserError(
                    f"source.path={common.path}: {name} holds no folders of png or jpg frames; unpack it again"
                )
            found += [
                RawVideo(
                    name=f"{name}/{video.as_posix()}",
                    **content_fields(folder / video),
                    class_name=None,
                    kind="frames",
                    window_mode=self.window_mode,
                    split=self.split_of(part),
                )
                for video in videos
            ]
        return found


def check_classes(common: CommonConfig, found: list[RawVideo]) -> list[RawVideo]:
    """Those of ``found`` in the classes of ``source.only_classes``, each of which must exist.

    Where classes are learned, every video must have one.
    """
    wanted = common.wanted_classes()
    known = {video.class_name for video in found if video.class_name is not None}
    for name in wanted:
        if name not in known:
            raise no_class("source.only_classes", name, known, "the videos")
    chosen = [video for video in found if not wanted or video.class_name in wanted]
    loose = [video.name for video in chosen if video.class_name is None]
    if common.classes and loose:
        raise UserError(
            f"source.classes=true: {len(loose)} videos are in no class folder, such as {loose[0]};"
            " move them into sub-folders or set it to false"
        )
    return chosen


def no_class(key: str, name: str, known: Collection[str], where: str) -> UserError:
    """The error for a class ``name`` that ``key`` asks for and that does not exist."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    hint = f"nearest is {near[0]}" if near else 'they have none, so set it to ""'
    return UserError(f"{key}: {name} is no class of {where}; {hint}")
