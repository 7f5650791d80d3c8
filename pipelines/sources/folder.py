"""Any folder of video files, at any depth; the first level of sub-folders are the classes, unless a CSV names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.sources.config import CommonConfig, RawSource
from pipelines.sources.layout import VIDEOS, check_classes, class_folder, read_csv, root_of, video_files
from pipelines.sources.source_path import SourcePath, content_fields
from pipelines.video.raw_video import RawVideo

SPLITS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": VALIDATION, "": None}


@dataclass(frozen=True, kw_only=True)
class FolderConfig(RawSource):
    """The section ``source.folder``; ``labels`` is the path of a CSV of file,class[,split], or empty."""

    name = "folder"
    labels: str

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """Every file under ``source.path`` with the suffix of a video; hidden files and folders are passed over.

        With ``labels``, only the files that the CSV lists, with its classes; without a split in its row, the hash of a
        video's name decides.
        """
        root = root_of(common, "a folder of videos")
        if self.labels:
            return check_classes(common, _labeled(self.labels, root))
        files = video_files(common, root)
        if not files:
            endings = ", ".join(sorted(VIDEOS))
            what = "is empty" if isinstance(root, Path) and not any(root.iterdir()) else "holds no videos"
            raise UserError(f"source.path={common.path}: the folder {what}; put files in it that end in {endings}")
        found = [
            RawVideo(name=file.as_posix(), **content_fields(root / file), class_name=class_folder(file))
            for file in files
        ]
        return check_classes(common, found)


def _labeled(labels: str, root: SourcePath) -> list[RawVideo]:
    """The videos that the CSV lists; its path is relative to the working directory or to ``source.path``."""
    given = Path(labels).expanduser()
    table = given if given.is_file() or given.is_absolute() else root / labels
    if not table.is_file():
        raise UserError(f"source.folder.labels={labels}: no such file, here or in {root}; give the path of a CSV file")
    lines: dict[str, int] = {}
    found = []
    for line, row in read_csv(table, ("file", "class")):
        name = PurePosixPath(row["file"]).as_posix()
        if not row["file"] or name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{table}, line {line}: file={row['file']}: must be a path inside {root}")
        if name in lines:
            raise UserError(f"{table}, line {line}: {name} is in line {lines[name]} already; keep one")
        if not (root / name).is_file():
            raise UserError(f"{table}, line {line}: {name} is not in {root}; take the line out or add the file")
        split = row.get("split", "").lower()
        if split not in SPLITS:
            raise UserError(f"{table}, line {line}: split={split}: must be train, val, test or nothing")
        lines[name] = line
        found.append(
            RawVideo(name=name, **content_fields(root / name), class_name=row["class"] or None, split=SPLITS[split])
        )
    if not found:
        raise UserError(f"{table}: lists no videos; write a line file,class for each below the heading")
    return found
