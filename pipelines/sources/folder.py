"""Any folder of video files, at any depth; the first level of sub-folders are the classes, unless a CSV names them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.listing import VIDEOS, check_classes, read_csv, root_of, video_files
from pipelines.sources.place import Place, known_by

SPLITS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": VALIDATION, "": None}


def videos(config: SourceConfig) -> list[RawVideo]:
    """Every file under ``source.path`` whose name ends like a video's; hidden files and folders are passed over.

    With ``source.labels``, a CSV of file,class[,split], just the files that it lists, with its classes; a row without
    a split goes by the hash of the name.
    """
    root = root_of(config, "a folder of videos")
    if config.labels:
        return check_classes(config, _labelled(config, root))
    files = video_files(config, root)
    if not files:
        endings = ", ".join(sorted(VIDEOS))
        what = "is empty" if isinstance(root, Path) and not any(root.iterdir()) else "holds no videos"
        raise UserError(f"source.path={config.path}: the folder {what}; put files in it that end in {endings}")
    found = [
        RawVideo(name=file.as_posix(), **known_by(root / file), category=file.parts[0] if len(file.parts) > 1 else None)
        for file in files
    ]
    return check_classes(config, found)


def _labelled(config: SourceConfig, root: Place) -> list[RawVideo]:
    """What the CSV lists; its address is relative to the folder it is started from, or to ``source.path``."""
    given = Path(config.labels).expanduser()
    table = given if given.is_file() or given.is_absolute() else root / config.labels
    if not table.is_file():
        raise UserError(f"source.labels={config.labels}: no such file, here or in {root}; give the path of a CSV file")
    lines: dict[str, int] = {}
    found = []
    for line, row in read_csv(table, ("file", "class")):
        name = PurePosixPath(row["file"]).as_posix()
        if not row["file"] or name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{table}, line {line}: file={row['file']}: must be a path inside {root}")
        if name in lines:
            raise UserError(f"{table}, line {line}: {name} stands in line {lines[name]} already; keep one")
        if not (root / name).is_file():
            raise UserError(f"{table}, line {line}: {name} is not in {root}; take the line out or add the file")
        split = row.get("split", "").lower()
        if split not in SPLITS:
            raise UserError(f"{table}, line {line}: split={split}: must be train, val, test or nothing")
        lines[name] = line
        found.append(RawVideo(name=name, **known_by(root / name), category=row["class"] or None, split=SPLITS[split]))
    if not found:
        raise UserError(f"{table}: lists no videos; write a line file,class for each below the heading")
    return found
