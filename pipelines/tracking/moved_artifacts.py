"""Artifacts of a SQLite store that was moved or copied: the addresses in its database are absolute."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

DEFAULT_ARTIFACTS = "mlartifacts"  # the artifact folder, beside the database


class ArtifactsMovedError(Exception):
    """Artifacts are not beside the database, but at the absolute path that it names."""


def beside(address: str, database: Path | None) -> str:
    """Return where the artifacts at ``address`` are: in the artifact folder beside ``database`` if it was moved or copied.

    Addresses on servers or in other folders are returned unchanged. ``ArtifactsMovedError`` if ``address`` is in the
    artifact folder of another place and the folder beside the database does not have it.
    """
    old = _local_path(address)
    if database is None or old is None or DEFAULT_ARTIFACTS not in old.parts:
        return address
    root = database.parent.resolve() / DEFAULT_ARTIFACTS
    if old.resolve().is_relative_to(root):
        return address
    ends = [position for position, part in enumerate(old.parts) if part == DEFAULT_ARTIFACTS]
    found = [new for end in ends if (new := root.joinpath(*old.parts[end + 1 :])).exists()]
    if not found:
        raise ArtifactsMovedError(
            f"its files are at {old}, not in {root} beside the database, which was moved or copied; copy the folder"
            f" {DEFAULT_ARTIFACTS} there, too"
        )
    return found[-1].as_uri()


def _local_path(address: str) -> Path | None:
    """Return the path in a ``file:`` address or an absolute path; ``None`` for other addresses."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(address) if not parts.scheme and Path(address).is_absolute() else None
