from __future__ import annotations

from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.sources import RawVideo, SourceConfig, open_source


def found(path: Path | str, classes: bool = False) -> list[RawVideo]:
    return open_source(SourceConfig(name="folder", path=str(path), classes=classes, toy_videos=2, toy_seed=0))


def test_any_depth_and_the_first_level_as_classes(tmp_path: Path) -> None:
    for name in ("b/2.MP4", "a/deep/er/1.mkv", "a/0.avi", "a/notes.txt", ".hidden/3.mp4", "b/.4.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = found(tmp_path, classes=True)
    assert [(video.name, video.category) for video in videos] == [
        ("a/0.avi", "a"), ("a/deep/er/1.mkv", "a"), ("b/2.MP4", "b"),
    ]  # fmt: skip
    (tmp_path / "loose.mov").touch()
    assert found(tmp_path)[-1].category is None
    with pytest.raises(UserError, match=r"source\.classes=true: 1 videos lie in no class folder, such as loose\.mov"):
        found(tmp_path, classes=True)


def test_nothing_to_find_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.path is empty"):
        found("")
    with pytest.raises(UserError, match="no such folder"):
        found(tmp_path / "missing")
    with pytest.raises(UserError, match="is empty"):
        found(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no videos"):
        found(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        found(tmp_path / "notes.txt")
