"""The files of a built-in data set, for its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.sources import SourceConfig, open_source


def files_of(config: SourceConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The bytes of each video by name, made below ``folder``."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    return {found.name: found.path.read_bytes() for found in open_source(config)}
