"""Any folder of video files, at any depth; the first level of sub-folders are the classes."""

from __future__ import annotations

from pathlib import Path

from digan.errors import UserError
from pipelines.sources import RawVideo, SourceConfig

SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp")
)


def videos(config: SourceConfig) -> list[RawVideo]:
    """Every file under ``source.path`` whose name ends like a video's; hidden files and folders are passed over."""
    root = Path(config.path).expanduser()
    if not root.exists():
        raise UserError(f"source.path={config.path}: no such folder; give the path of a folder of videos")
    if not root.is_dir():
        raise UserError(f"source.path={config.path}: is a file; give the path of a folder of videos")
    try:
        files = [
            path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
    except PermissionError as error:
        raise UserError(
            f"source.path={config.path}: {error.filename} may not be read; change its permissions"
        ) from error
    files = [file for file in files if not any(part.startswith(".") for part in file.parts)]
    if not files:
        endings = ", ".join(sorted(SUFFIXES))
        what = "is empty" if not any(root.iterdir()) else "holds no videos"
        raise UserError(f"source.path={config.path}: the folder {what}; put files in it that end in {endings}")
    found = [
        RawVideo(name=file.as_posix(), path=root / file, category=file.parts[0] if len(file.parts) > 1 else None)
        for file in files
    ]
    loose = [video.name for video in found if video.category is None]
    if config.classes and loose:
        raise UserError(
            f"source.classes=true: {len(loose)} videos lie in no class folder, such as {loose[0]};"
            " move them into sub-folders or set it to false"
        )
    return found
