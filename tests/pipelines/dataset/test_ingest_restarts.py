"""Interrupted ingests continue, an older set stays readable meanwhile, and nothing is left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from digan.data.clips import ClipsConfig
from pipelines.dataset.loader import read_clips, read_index
from pipelines.dataset.shard_writer import IngestWriter
from pipelines.ingest import ingest
from pipelines.storage import file_io
from tests.conftest import clips_config
from tests.pipelines.dataset.test_ingest import CLIPS, SHARDS, toy, tree

OTHER = clips_config(resolution=64, frames=16, frame_stride=1, validation_share=0.3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy videos in it and the shards of an undisturbed ingest under ``shards``."""
    path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        ingest(toy(), CLIPS, SHARDS, path / "shards")
    return path


def interrupted_after(shards: int, out: Path, clips: ClipsConfig = CLIPS) -> list[str]:
    """Ingest by one process until it has written this many shards; returns their paths."""
    made: list[str] = []
    close = IngestWriter.close_shard

    def interrupted(self: IngestWriter) -> None:
        close(self)
        made.append(self.shards[-1].path)
        if len(made) == shards:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IngestWriter, "close_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(toy(), clips, SHARDS, out, jobs=1)
    return made


def test_an_interrupted_ingest_continues(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    out = tmp_path / "out"
    made = interrupted_after(9, out)
    kept = {path: (out / path).stat().st_mtime_ns for path in made}
    assert not (out / "index.json").exists()
    (out / "train/00099000.tar").write_bytes(b"a shard that no record knows")
    (out / "train/.00099000.tar.0a.part").write_bytes(b"half a shard")
    ingest(toy(), CLIPS, SHARDS, out)
    assert "resuming after" in capsys.readouterr().out
    assert tree(out) == tree(whole / "shards")
    unchanged = sum((out / path).stat().st_mtime_ns == time for path, time in kept.items())
    assert unchanged >= len(kept) - 1  # only the chunk in hand is made again


def test_a_damaged_shard_of_an_interrupted_ingest_is_made_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole)
    first, *_ = interrupted_after(9, tmp_path)
    data = (tmp_path / first).read_bytes()
    (tmp_path / first).write_bytes(data[:-1] + b"1")
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(whole / "shards")


def test_an_older_set_is_readable_until_the_new_index_replaces_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    ingest(toy(), OTHER, SHARDS, tmp_path)
    older = read_index(tmp_path)
    before = {name: data for name, data in tree(tmp_path).items() if name.endswith(".tar")}
    made = interrupted_after(9, tmp_path)
    assert len(list(read_clips(tmp_path, split="train", count=30, seed=0))) == 30
    assert read_index(tmp_path) == older and not set(made) & set(before)
    with monkeypatch.context() as patch:
        patch.setattr(file_io, "delete", lambda address: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # the first deletion comes before the first missing task is made
            ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert read_index(tmp_path) == older
    capsys.readouterr()
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert "resuming after" in capsys.readouterr().out
    new = read_index(tmp_path)
    assert new.digest == read_index(whole / "shards").digest != older.digest
    shards = {shard.path for listed in new.splits.values() for shard in listed}
    assert set(tree(tmp_path)) == {*shards, "index.json", "ingest_report.json"} and not shards & set(before)


def test_a_kill_between_index_and_deletion_of_the_older_set_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    ingest(toy(), OTHER, SHARDS, tmp_path)
    delete = file_io.delete

    def killed(address: str) -> None:
        if address.endswith(".tar"):
            raise KeyboardInterrupt
        delete(address)

    with monkeypatch.context() as patch:
        patch.setattr(file_io, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(toy(), CLIPS, SHARDS, tmp_path)
    index = read_index(tmp_path)
    assert index.digest == read_index(whole / "shards").digest
    capsys.readouterr()
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert "resuming after 16 videos" in capsys.readouterr().out
    assert read_index(tmp_path) == index
    assert len(tree(tmp_path)) == len(tree(whole / "shards"))


def test_the_same_input_keeps_the_names_of_its_shards(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole)
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(whole / "shards")
    ingest(toy(), OTHER, SHARDS, tmp_path)
    ingest(toy(), CLIPS, SHARDS, tmp_path)  # names alternate between sets, so the first names are free again
    assert tree(tmp_path) == tree(whole / "shards")
    shard = tmp_path / read_index(tmp_path).splits["train"][0].path
    shard.write_bytes(b"damaged")
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(whole / "shards")
