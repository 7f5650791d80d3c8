from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.data.clips import ClipsConfig
from digan.errors import UserError
from pipelines.ingest import ingest
from pipelines.media import storage
from pipelines.media.shard_writer import ChunkWriter
from pipelines.media.shards import read, read_clips, read_index
from pipelines.sources import SourceConfig, open_source
from pipelines.sources import toy as toy_source
from tests.conftest import clips_config, shards_config, source_config

SHARED = Path(__file__).parents[3] / "shared" / "data"
CLIPS = clips_config(resolution=32, frames=16, frame_stride=1, validation_share=0.3)
SHARDS = shards_config(encoding="png", jpeg_quality=95, megabytes=0.1)


def toy(count: int = 16, classes: bool = False) -> SourceConfig:
    return source_config(classes=classes, toy={"videos": count})


def folder(path: Path | str) -> SourceConfig:
    return source_config(name="folder", path=str(path))


def tree(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy videos in it and their shards under ``shards``."""
    path = tmp_path_factory.mktemp("ingest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        line = ingest(toy(), CLIPS, SHARDS, path / "shards")
    assert line.startswith("ingest: 16 videos used, train ") and line.endswith("; 0 refused")
    return path


def test_every_video_is_there_once_with_all_its_clips(place: Path) -> None:
    index = read_index(place / "shards")
    assert sum(count["clips"] for count in index.counts.values()) == 16 * 5  # every window of 16 of a video's 20 frames
    names = [
        {clip.name.split("@")[0] for clip in read_clips(place / "shards", split=split, count=200, seed=0)}
        for split in ("train", "val")
    ]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 16 and names[1]
    assert len(index.splits["train"]) >= 4
    assert index.classes == () and not (place / "shards/.building").exists()


def test_stored_frames_are_those_of_the_video(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from digan.data.clips import square
    from pipelines.media import video

    monkeypatch.chdir(place)
    paths = {each.name: each.path for each in open_source(toy())}
    for clip in read_clips(place / "shards", split="train", count=5, seed=1):
        name, number = clip.name.split("@")
        frames = list(video.decode(paths[name]).frames)[int(number) : int(number) + 16]
        expected = np.stack([square(frame, 32) for frame in frames]).transpose(0, 3, 1, 2)
        assert np.array_equal(clip.frames.numpy(), expected)


def test_two_readers_get_pairs(place: Path) -> None:
    pairs = [next(read(place / "shards", reader_index=rank, num_readers=2, seed=0, batch_size=3)) for rank in range(2)]
    assert all(pair.frames.shape == (3, 2, 3, 32, 32) and pair.labels is None for pair in pairs)
    assert not np.array_equal(pairs[0].frames, pairs[1].frames)


def test_bytes_do_not_depend_on_the_number_of_processes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), CLIPS, SHARDS, tmp_path / "one", processes=1)
    assert tree(tmp_path / "one") == tree(place / "shards")


def interrupted_after(shards: int, out: Path, clips: ClipsConfig = CLIPS) -> list[str]:
    """Ingest by one process until it has written this many shards; returns their paths."""
    made: list[str] = []
    close = ChunkWriter.close_shard

    def interrupted(self: ChunkWriter) -> None:
        close(self)
        made.append(self.shards[-1].path)
        if len(made) == shards:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChunkWriter, "close_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(toy(), clips, SHARDS, out, processes=1)
    return made


def test_an_interrupted_ingest_continues(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    out = tmp_path / "out"
    made = interrupted_after(9, out)
    kept = {path: (out / path).stat().st_mtime_ns for path in made}
    assert not (out / "index.json").exists()
    (out / "train/00099000.tar").write_bytes(b"a shard that no record knows")
    (out / "train/.00099000.tar.0a.part").write_bytes(b"half a shard")
    ingest(toy(), CLIPS, SHARDS, out)
    assert "resuming after" in capsys.readouterr().out
    assert tree(out) == tree(place / "shards")
    unchanged = sum((out / path).stat().st_mtime_ns == time for path, time in kept.items())
    assert unchanged >= len(kept) - 1  # only the chunk in hand is made again


def test_a_damaged_shard_of_an_interrupted_ingest_is_made_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    first, *_ = interrupted_after(9, tmp_path)
    data = (tmp_path / first).read_bytes()
    (tmp_path / first).write_bytes(data[:-1] + b"1")
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(place / "shards")


OTHER = clips_config(resolution=64, frames=16, frame_stride=1, validation_share=0.3)


def test_an_older_set_is_readable_until_the_new_index_replaces_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), OTHER, SHARDS, tmp_path)
    older = read_index(tmp_path)
    before = {name: data for name, data in tree(tmp_path).items() if name.endswith(".tar")}
    made = interrupted_after(9, tmp_path)
    assert len(list(read_clips(tmp_path, split="train", count=30, seed=0))) == 30
    assert read_index(tmp_path) == older and not set(made) & set(before)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", lambda address: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # the first deletion comes before the first missing task is made
            ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert read_index(tmp_path) == older
    capsys.readouterr()
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert "resuming after" in capsys.readouterr().out
    new = read_index(tmp_path)
    assert new.digest == read_index(place / "shards").digest != older.digest
    shards = {shard.path for listed in new.splits.values() for shard in listed}
    assert set(tree(tmp_path)) == {*shards, "index.json", "ingest_report.json"} and not shards & set(before)


def test_a_kill_between_index_and_deletion_of_the_older_set_loses_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), OTHER, SHARDS, tmp_path)
    delete = storage.delete

    def killed(address: str) -> None:
        if address.endswith(".tar"):
            raise KeyboardInterrupt
        delete(address)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(toy(), CLIPS, SHARDS, tmp_path)
    index = read_index(tmp_path)
    assert index.digest == read_index(place / "shards").digest
    capsys.readouterr()
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert "resuming after 16 videos" in capsys.readouterr().out
    assert read_index(tmp_path) == index
    assert len(tree(tmp_path)) == len(tree(place / "shards"))


def test_the_same_input_keeps_the_names_of_its_shards(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(place / "shards")
    ingest(toy(), OTHER, SHARDS, tmp_path)
    ingest(toy(), CLIPS, SHARDS, tmp_path)  # names alternate between sets, so the first names are free again
    assert tree(tmp_path) == tree(place / "shards")
    shard = tmp_path / read_index(tmp_path).splits["train"][0].path
    shard.write_bytes(b"damaged")
    ingest(toy(), CLIPS, SHARDS, tmp_path)
    assert tree(tmp_path) == tree(place / "shards")


def test_too_much_refused_fails_the_stage(place: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in sorted((place / "outputs/raw/toy/seed0").glob("*.mp4"))[:8]:
        (raw / path.name).write_bytes(path.read_bytes())
    for number in range(4):
        (raw / f"bad{number}.mp4").write_text("not a video")
    source = source_config(name="folder", path=str(raw), max_refused=0.3)
    with pytest.raises(UserError, match=r"^source\.max_refused=0\.3: 4 of 12 videos were refused: .*bad\d\.mp4"):
        ingest(source, CLIPS, SHARDS, tmp_path / "out")
    assert not (tmp_path / "out/index.json").exists()
    line = ingest(source_config(name="folder", path=str(raw), max_refused=0.4), CLIPS, SHARDS, tmp_path / "out")
    assert "4 refused" in line


def test_the_index_says_what_the_frames_are_like(place: Path) -> None:
    index = read_index(place / "shards")
    found = index.statistics
    clips = [
        clip.frames
        for split in ("train", "val")
        for clip in read_clips(place / "shards", split=split, count=index.counts[split]["clips"], seed=0)
    ]
    values = torch.stack(clips).float()
    assert np.allclose(found["mean"], values.mean(dim=(0, 1, 3, 4)), atol=6)
    assert np.allclose(found["std"], values.std(dim=(0, 1, 3, 4)), atol=6)
    assert found["frames_sampled"] == 16 * 3 and set(index.software) >= {"numpy", "decord", "simplejpeg"}


def test_classes_are_labels(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    ingest(toy(classes=True), CLIPS, SHARDS, tmp_path)
    index = read_index(tmp_path)
    assert set(index.classes) == {
        toy_source.class_of(toy_source.draw_label(toy().toy.seed, number)) for number in range(16)
    }
    for clip in read_clips(tmp_path, split="train", count=20, seed=0):
        assert clip.label is not None and clip.name.startswith(index.classes[clip.label] + "/")
    labels = next(read(tmp_path, reader_index=0, num_readers=1, seed=0, batch_size=32, labelled=True)).labels
    assert labels is not None and set(labels.tolist()) <= set(range(len(index.classes)))
    with pytest.raises(UserError, match="have no classes"):
        read(place / "shards", reader_index=0, num_readers=1, seed=0, batch_size=1, labelled=True)


def test_bad_files_are_named_and_the_rest_is_used(place: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in sorted((place / "outputs/raw/toy/seed0").glob("*.mp4"))[:8]:
        (raw / path.name).write_bytes(path.read_bytes())
    good = (raw / "000000.mp4").read_bytes()
    (raw / "empty.mp4").touch()
    (raw / "half.mp4").write_bytes(good[: len(good) // 2])
    (raw / "text.avi").write_text("not a video")
    line = ingest(folder(raw), CLIPS, SHARDS, tmp_path / "out")
    report = json.loads((tmp_path / "out/ingest_report.json").read_text())
    assert set(report["refused"]) == {"empty.mp4", "half.mp4", "text.avi"}
    assert (report["videos"], report["used"]) == (11, 8)
    assert "8 videos used" in line and "3 refused" in line and "empty.mp4 (the file is empty)" in line


def test_nothing_usable_leaves_an_older_set_as_it_was(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), CLIPS, SHARDS, tmp_path / "old")
    before = tree(tmp_path / "old")
    bad = tmp_path / "bad"
    bad.mkdir()
    for number in range(8):
        (bad / f"{number}.mp4").write_text("not a video")
    for out in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(UserError, match="no usable video for the train split: 8 refused"):
            ingest(folder(bad), CLIPS, SHARDS, out)
    assert tree(tmp_path / "old") == before and not (tmp_path / "new").exists()


def test_too_short_videos_and_empty_splits_are_one_line(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    longer = clips_config(resolution=32, frames=20, frame_stride=2, validation_share=0.3)
    with pytest.raises(UserError, match="is too short: 20 frames, a clip needs 39"):
        ingest(toy(), longer, SHARDS, tmp_path / "out")
    rare = clips_config(resolution=32, frames=16, frame_stride=1, validation_share=0.001)
    with pytest.raises(UserError, match=r"^clips\.validation_share=0\.001: none of the 16 videos .* val split"):
        ingest(toy(), rare, SHARDS, tmp_path / "out")


def test_an_output_that_cannot_be_written_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "file").touch()
    with pytest.raises(UserError, match="file/shards: cannot be written"):
        ingest(toy(), CLIPS, SHARDS, place / "file/shards")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the clips in {SHARED}")
def test_real_broken_files_cost_nothing_else(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for path in [*(SHARED / "broken").iterdir(), *(SHARED / "actions/0").iterdir()]:
        target = raw / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    ingest(folder(raw), CLIPS, SHARDS, tmp_path / "out")
    report = json.loads((tmp_path / "out/ingest_report.json").read_text())
    assert set(report["refused"]) == {f"broken/{path.name}" for path in (SHARED / "broken").iterdir()}
    assert report["used"] == 18 and all(report["refused"].values())
