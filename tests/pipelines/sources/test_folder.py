from __future__ import annotations

from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.sources import RawVideo, open_source
from pipelines.sources.base import NO_CLASS
from tests.conftest import source_config


def found(path: Path | str, classes: bool = False, labels: str = "", only_classes: str = "") -> list[RawVideo]:
    changes = {"folder": {"labels": labels}, "only_classes": only_classes}
    return open_source(source_config(name="folder", path=str(path), classes=classes, **changes))


def test_files_at_any_depth_have_the_first_folder_as_class(tmp_path: Path) -> None:
    for name in ("b/2.MP4", "a/deep/er/1.mkv", "a/0.avi", "a/notes.txt", ".hidden/3.mp4", "b/.4.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = found(tmp_path, classes=True)
    assert [(video.name, video.class_name) for video in videos] == [
        ("a/0.avi", "a"), ("a/deep/er/1.mkv", "a"), ("b/2.MP4", "b"),
    ]  # fmt: skip
    (tmp_path / "loose.mov").touch()
    assert found(tmp_path)[-1].class_name is None and not found(tmp_path)[-1].rejected
    listed = found(tmp_path, classes=True)
    assert [video.name for video in listed if not video.rejected] == ["a/0.avi", "a/deep/er/1.mkv", "b/2.MP4"]
    assert [(video.name, video.rejected) for video in listed if video.rejected] == [("loose.mov", NO_CLASS)]
    for name in ("0.avi", "deep/er/1.mkv"):
        (tmp_path / "a" / name).unlink()
    (tmp_path / "b/2.MP4").unlink()
    with pytest.raises(UserError, match=r"source\.classes=true: 1 videos are in no class folder, such as loose\.mov"):
        found(tmp_path, classes=True)


def test_folder_without_videos_is_an_error(tmp_path: Path) -> None:
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


def test_csv_sets_classes_and_splits(tmp_path: Path) -> None:
    for name in ("x/0.mp4", "x/1.mp4", "2.mp4", "unlisted.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text("\ufefffile, class,split\n2.mp4,cat,test\nx/1.mp4, dog ,\nx/0.mp4,cat,train\n")
    videos = found(tmp_path, classes=True, labels="labels.csv")
    assert [(video.name, video.class_name, video.split) for video in videos] == [
        ("2.mp4", "cat", "val"), ("x/0.mp4", "cat", "train"), ("x/1.mp4", "dog", None),
    ]  # fmt: skip
    assert [video.name for video in found(tmp_path, labels="labels.csv", only_classes="dog")] == ["x/1.mp4"]
    (tmp_path / "labels.csv").write_text("file,class\n2.mp4,cat\n")
    assert [video.split for video in found(tmp_path, labels=str(tmp_path / "labels.csv"))] == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;class\n0.mp4;cat\n", r"labels\.csv, line 1: has no column file; the heading must be file,class"),
        ("", "line 1: has no column file"),
        ("file,class\n", "lists no videos"),
        ("file,class\n0.mp4,cat\n./0.mp4,dog\n", r"line 3: 0\.mp4 is in line 2 already"),
        ("file,class\n9.mp4,cat\n", r"line 2: 9\.mp4 is not in"),
        ("file,class\n../0.mp4,cat\n", r"line 2: file=\.\./0\.mp4: must be a path inside"),
        ("file,class,split\n0.mp4,cat,tran\n", "line 2: split=tran: must be train, val, test or nothing"),
    ],
)
def test_wrong_csv_is_an_error_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "0.mp4").touch()
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        found(tmp_path, labels="labels.csv")
    assert "\n" not in str(caught.value)


def test_csv_that_is_missing_or_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").touch()
    with pytest.raises(UserError, match=r"source\.folder\.labels=none\.csv: no such file"):
        found(tmp_path, labels="none.csv")
    (tmp_path / "labels.csv").write_bytes(b"file,class\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        found(tmp_path, labels="labels.csv")


def test_only_classes_selects_classes(tmp_path: Path) -> None:
    for name in ("cat/0.mp4", "dog/0.mp4", "owl/0.mp4", "loose.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [video.name for video in found(tmp_path, only_classes="owl, cat")] == ["cat/0.mp4", "owl/0.mp4"]
    with pytest.raises(UserError, match=r"source\.only_classes: cats is no class of the videos; nearest is cat"):
        found(tmp_path, only_classes="cats")


def test_nonsense_class_lists_the_classes(tmp_path: Path) -> None:
    for name in ("0/a.mp4", "1/b.mp4", "3/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"zebra is no class of the videos; choose one of 0, 1, 3$"):
        open_source(source_config(name="folder", path=str(tmp_path), only_classes="zebra"))
