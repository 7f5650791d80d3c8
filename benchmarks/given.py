"""Folders of videos that a benchmark's user names."""

from __future__ import annotations

from pathlib import Path

from digan.errors import UserError


def folder_or(option: str, folder: Path | None, default: Path) -> Path | None:
    """The folder that the user names, which must exist; else ``default``, or None where that is missing."""
    if folder is None:
        return default if default.is_dir() else None
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: there is no such folder; name a folder of videos")
    return folder
