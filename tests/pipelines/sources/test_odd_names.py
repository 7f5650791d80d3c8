"""Names that are not UTF-8, hold a colon or begin with ~, and videos beside class folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from digan import atomic
from digan.errors import UserError
from pipelines import listing
from pipelines.dataset import shard_reader
from pipelines.dataset.shard_index import read_index
from pipelines.dataset.shard_writer import ShardsConfig
from pipelines.detectors import weights
from pipelines.ingest import ingest
from pipelines.sources import open_source
from pipelines.sources.base import NO_CLASS, NOT_UTF8
from pipelines.storage import file_io
from pipelines.tracking import sqlite_address
from pipelines.video.video_writer import write_video
from tests.conftest import ROOT, clips_config, source_config

SHARDS = ShardsConfig(address="", encoding="png", jpeg_quality=95, megabytes=1.0)


def make(folder: Path, *names: str | bytes) -> None:
    for number, name in enumerate(names):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = torch.full((6, 3, 32, 32), 20 * number, dtype=torch.uint8)
        write_video(folder / "x.mp4", frames).rename(path)


def test_unusable_names_and_strays_are_named_and_counted_and_the_rest_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [f"{kind}/{number}.mp4" for kind in "ab" for number in range(5)]
    make(tmp_path / "raw", *good, "stray.mp4", b"a/caf\xe9.mp4", b"\xff/1.mp4")
    source = source_config(name="folder", path=str(tmp_path / "raw"), classes=True)
    line = ingest(source, clips_config(resolution=32, frames=4), SHARDS, tmp_path / "out")
    assert line.startswith("ingest: 10 videos used") and "3 rejected" in line
    index, report = read_index(tmp_path / "out"), json.loads((tmp_path / "out/ingest_report.json").read_text())
    assert index.classes == ("a", "b")
    assert report["rejected"] == {"stray.mp4": NO_CLASS, "a/caf\\xe9.mp4": NOT_UTF8, "\\xff/1.mp4": NOT_UTF8}
    assert (report["videos"], report["used"], index.source["rejected"]) == (13, 10, 3)
    described = json.loads(listing.describe(source, open_source(source)))
    assert (described["videos"], described["rejected"]) == (13, 3)
    assert "3 of 13 videos are not used" in caplog.text and "stray.mp4" in caplog.text


def test_too_many_strays_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "raw", *(f"a/{number}.mp4" for number in range(6)), *(f"{number}.mp4" for number in range(7)))
    source = source_config(name="folder", path=str(tmp_path / "raw"), classes=True, max_rejected=0.5)
    with pytest.raises(
        UserError, match=r"^source.max_rejected=0.5: 7 of 13 videos were rejected: 0.mp4 \(has no class;"
    ):
        ingest(source, clips_config(resolution=32, frames=4, validation_share=0.5), SHARDS, tmp_path / "out")


@pytest.mark.parametrize("name", ["2024-01-01T10:00:00", "data:x", "file:x", "pipe:1", "concat:a", "a b:c"])
def test_relative_path_with_a_colon_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path(name), *(f"{number}:{number}.mp4" for number in range(6)))
    source = source_config(name="folder", path=name)
    assert all(Path(video.path).is_absolute() and Path(video.path).is_file() for video in open_source(source))
    line = ingest(source, clips_config(resolution=32, frames=4, validation_share=0.5), SHARDS, Path("out:1"))
    assert line.startswith("ingest: 6 videos used") and line.endswith("0 rejected")


def test_home_folder_is_expanded_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make(tmp_path / "raw", "0.mp4")
    assert [Path(video.path) for video in open_source(source_config(name="folder", path="~/raw"))] == [
        tmp_path / "raw/0.mp4"
    ]
    file_io.write_bytes("~/cache/a", b"1")
    assert (tmp_path / "cache/a").read_bytes() == file_io.read_bytes("~/cache/a") == b"1"
    assert file_io.join("~/cache", "a") == str(tmp_path / "cache/a") and file_io.list_names("~/cache") == ["a"]
    file_io.copy("~/cache/a", "~/cache/b")
    file_io.delete("~/cache/a")
    assert file_io.list_names(tmp_path / "cache") == ["b"]
    monkeypatch.setenv("DIGAN_CACHE", "~/shards")
    assert shard_reader._cache() == (tmp_path / "shards", 10**10)
    database = tmp_path / "x/mlflow.db"
    assert sqlite_address.database_of("sqlite:///~/x/mlflow.db") == database
    with pytest.raises(UserError, match=r"^~no-such-user/x: no home folder is known for ~; give the whole path$"):
        open_source(source_config(name="folder", path="~no-such-user/x"))
    for read in (
        lambda: monkeypatch.setenv("DIGAN_CACHE", "~no-such-user") or shard_reader._cache(),
        lambda: sqlite_address.database_of("sqlite:///~no-such-user/x.db"),
        lambda: weights.read("~no-such-user/x", "evaluation.weights", ""),
    ):
        with pytest.raises(
            UserError, match=r"^~no-such-user[\w./]*: no home folder is known for ~; give the whole path$"
        ):
            read()


def test_only_one_function_expands_home_folders() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("digan", "pipelines")
        for path in Path(ROOT, package).rglob("*.py")
        if "expanduser" in path.read_text()
    ]
    assert found == ["pipelines/storage/file_io.py"]


def test_output_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "missing/deeper")
    atomic.check_writable(tmp_path, tmp_path / "new/folder")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"dangling/x: .*/dangling is a link to a missing folder"):
        atomic.check_writable(tmp_path / "dangling/x")
    for name in ("file", "file/below"):
        with pytest.raises(OSError) as error:
            atomic.check_writable(tmp_path / name)
        assert error.value.filename == str(tmp_path / name)
