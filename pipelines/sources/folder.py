"""Any folder of video files, at any depth; the first level of sub-folders are the classes, unless a CSV names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.sources.base import CommonConfig, RawSource, SourceFolder, check_classes, class_folder, read_csv
from pipelines.storage import file_io
from pipelines.video.decoder import SUFFIXES
from pipelines.video.raw_video import RawVideo

SPLITS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": VALIDATION, "": None}


@dataclass(frozen=True, kw_only=True)
class FolderConfig(RawSource):
    """The section ``source.folder``; ``labels`` is the path of a CSV of file,class[,split], or empty."""

    name = "folder"
    labels: str

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List every file under ``source.path`` with the suffix of a video, except hidden files and folders.

        With ``labels``, list only the files in the CSV, with its classes; without a split in its row, the hash of a
        video's name decides.
        """
        root = SourceFolder(common, "a folder of videos")
        if self.labels:
            return check_classes(common, _labeled(self.labels, root))
        files = root.video_files()
        if not files:
            what = "holds no videos" if root.files() else "is empty"
            endings = ", ".join(SUFFIXES)
            raise root.error(f"the folder {what}; put files in it that end in {endings}")
        return check_classes(common, [root.video(file, class_name=class_folder(file)) for file in files])


def _labeled(labels: str, root: SourceFolder) -> list[RawVideo]:
    """The videos in the CSV, whose path is relative to the working directory or to ``source.path``."""
    given = file_io.local(labels)
    if not given.is_file() and not (not given.is_absolute() and root.is_file(labels)):
        what = f"no such file, here or in {root.path}"
        raise UserError(f"source.folder.labels={labels}: {what}; give the path of a CSV file")
    table = str(given if given.is_file() else root.address(labels))
    lines: dict[str, int] = {}
    found = []
    for line, row in read_csv(table, ("file", "class")):
        name, split = PurePosixPath(row["file"]).as_posix(), row.get("split", "").lower()
        if not row["file"] or name.startswith("/") or ".." in name.split("/"):
            problem = f"file={row['file']}: must be a path inside {root.path}"
        elif name in lines:
            problem = f"{name} is in line {lines[name]} already; keep one"
        elif not root.is_file(name):
            problem = f"{name} is not in {root.path}; remove the line or add the file"
        elif split not in SPLITS:
            problem = f"split={split}: must be train, val, test or nothing"
        else:
            lines[name] = line
            found.append(root.video(name, class_name=row["class"] or None, split=SPLITS[split]))
            continue
        raise UserError(f"{table}, line {line}: {problem}")
    if not found:
        raise UserError(f"{table}: lists no videos; write a line file,class for each below the heading")
    return found
