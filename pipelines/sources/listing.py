"""What sources share: the folder that is asked for, what lies in it, lists with the line that is wrong, and splits."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.media.frames import is_picture, numeric
from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.place import Place, Remote, known_by, place_of

VIDEOS = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp")
)


def root_of(config: SourceConfig, what: str) -> Place:
    """``source.path`` as a folder, on a disk or on S3; ``what`` names what should lie in it."""
    root = place_of(config.path)
    if not root.exists():
        raise UserError(f"source.path={config.path}: no such folder; give the path of {what}")
    if not root.is_dir():
        raise UserError(f"source.path={config.path}: is a file; give the path of {what}")
    return root


def part_of(config: SourceConfig, root: Place, name: str, what: str) -> Place:
    """A folder that the data set's layout has in ``root``."""
    if not (root / name).is_dir():
        raise UserError(f"source.path={config.path}: holds no folder {name}; {config.name} expects {what} there")
    return root / name


def list_of(config: SourceConfig, root: Place, names: Sequence[str], what: str) -> Place:
    """The first of some list files that is there."""
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found is None:
        others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
        raise UserError(f"source.path={config.path}: holds no file {names[0]}{others}; {config.name} needs {what}")
    return found


def walk(config: SourceConfig, root: Place) -> Iterator[tuple[Path, list[str]]]:
    """Every folder in ``root`` and itself, relative to it, with the names of its files; hidden ones are passed over
    and links to folders are not followed.
    """

    def refuse(error: OSError) -> None:
        raise UserError(
            f"source.path={config.path}: {error.filename} may not be read; change its permissions"
        ) from error

    if isinstance(root, Remote):
        yield from root.walk()
        return
    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder).relative_to(root), sorted(name for name in files if not name.startswith("."))


def video_files(config: SourceConfig, root: Place) -> list[Path]:
    """Every file in ``root`` whose name ends like a video's, relative to it, at any depth."""
    return [
        folder / name
        for folder, files in walk(config, root)
        for name in files
        if Path(name).suffix.lower() in VIDEOS and (root / folder / name).is_file()
    ]


def frame_folders(config: SourceConfig, root: Place) -> list[Path]:
    """Every folder in ``root`` that pictures lie in, relative to it, at any depth."""
    return [folder for folder, files in walk(config, root) if any(map(is_picture, files))]


def picture_files(config: SourceConfig, root: Place) -> list[Path]:
    """Every picture in ``root``, relative to it, at any depth."""
    found = [folder / name for folder, files in walk(config, root) for name in files if is_picture(name)]
    return sorted(found, key=lambda path: numeric(path.as_posix()))


def read_csv(path: Place, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as (line, row), with a heading that has at least ``columns``; cells without blanks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{path}, line 1: has no column {missing[0]}; the heading must be {','.join(columns)}")
            for row in reader:
                yield (
                    reader.line_num,
                    {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)},
                )
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: is not a CSV file ({error}); write it again") from None


def split_for(config: SourceConfig, part: str) -> str:
    """Where a video of the data set's own ``train`` or ``test`` part goes under ``source.split``: the part that is
    trained on is train, the other val; with ``both`` nothing is held out.
    """
    return TRAIN if config.split in ("both", part) else VALIDATION


def official_frames(config: SourceConfig, parts: Mapping[str, str], cut: Literal["apart", "phases"]) -> list[RawVideo]:
    """The folders of frames of a data set with two parts (``train`` and ``test`` to the name of the part's folder)."""
    root = root_of(config, f"the folder that holds {' and '.join(parts.values())}")
    found = []
    for part, name in parts.items():
        folder = part_of(config, root, name, "a folder of frames for each video")
        videos = [video for video in frame_folders(config, folder) if video.parts]
        if not videos:
            raise UserError(f"source.path={config.path}: {name} holds no folders of png or jpg frames; unpack it again")
        split = split_for(config, part)
        found += [
            RawVideo(
                name=f"{name}/{video.as_posix()}",
                **known_by(folder / video),
                category=None,
                kind="frames",
                cut=cut,
                split=split,
            )
            for video in videos
        ]
    return found


def check_classes(config: SourceConfig, found: list[RawVideo]) -> list[RawVideo]:
    """Those of ``found`` that are of the classes asked for (``source.only_classes``), each of which must be there.

    Where classes are to be learned, every video must have one.
    """
    wanted = config.wanted_classes()
    known = {video.category for video in found if video.category is not None}
    for name in wanted:
        if name not in known:
            raise no_class("source.only_classes", name, known, "the videos")
    chosen = [video for video in found if not wanted or video.category in wanted]
    loose = [video.name for video in chosen if video.category is None]
    if config.classes and loose:
        raise UserError(
            f"source.classes=true: {len(loose)} videos lie in no class folder, such as {loose[0]};"
            " move them into sub-folders or set it to false"
        )
    return chosen


def no_class(key: str, name: str, known: Collection[str], where: str) -> UserError:
    """What to say of a class that ``key`` asks for and that is not there."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    hint = f"nearest is {near[0]}" if near else 'they have none, so set it to ""'
    return UserError(f"{key}: {name} is no class of {where}; {hint}")
