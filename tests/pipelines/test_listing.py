"""The listing changes with the videos of a source, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines import listing
from pipelines.sources import SourceConfig
from tests.conftest import source_config


def config(folder: Path, **changes: object) -> SourceConfig:
    return source_config(**{"name": "folder", "path": str(folder), **changes})


def describe(source: SourceConfig) -> str:
    return listing.describe(source, listing.videos_of(source))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cats/a.mp4", "dogs/b.mp4"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 10)
    return tmp_path / "raw"


def test_listing_changes_with_the_videos(folder: Path) -> None:
    first = describe(config(folder))
    os.utime(folder / "cats/a.mp4", (1, 1))  # new modification time
    (folder / "notes.txt").write_text("no video")
    assert describe(config(folder)) == first

    seen = {first}
    (folder / "cats/c.mp4").write_bytes(b"x")
    seen.add(describe(config(folder)))
    (folder / "cats/c.mp4").write_bytes(b"xx")
    seen.add(describe(config(folder)))
    (folder / "cats/c.mp4").rename(folder / "dogs/c.mp4")
    seen.add(describe(config(folder)))
    assert len(seen) == 4
    (folder / "dogs/c.mp4").unlink()
    assert describe(config(folder)) == first


def test_listing_changes_with_the_frames_of_a_folder(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        path = tmp_path / "raw/video" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    frames = config(tmp_path / "raw", name="frames")
    first = describe(frames)
    (tmp_path / "raw/video/3.png").write_bytes(b"x")
    assert describe(frames) != first


def test_listing_does_not_generate_the_toy_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe(source_config(name="toy")) == '{"source": "toy"}\n'
    assert not any(tmp_path.iterdir())


def test_earlier_listing_is_kept_if_the_videos_are_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)

    class Params:
        source = config(folder)

    monkeypatch.setattr("pipelines.params.load", lambda: Params)
    folder.rename(tmp_path / "away")
    with pytest.raises(UserError, match="no such folder"):
        listing.main()
    assert not listing.OUT.exists()
    (tmp_path / "away").rename(folder)
    listing.main()
    before = listing.OUT.read_bytes()
    folder.rename(tmp_path / "away")
    listing.main()
    assert listing.OUT.read_bytes() == before
    assert "no such folder" in caplog.text
