from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.errors import UserError
from pipelines.dataset.ingest_run import Results
from pipelines.dataset.ingest_tasks import IngestTask, task_runner
from pipelines.dataset.loader import read, read_clips, read_index
from pipelines.ingest import ingest
from pipelines.sources import SourceConfig, open_source
from pipelines.sources import toy as toy_source
from tests.conftest import clips_config, shards_config, source_config

SHARED = Path(__file__).parents[4] / "shared" / "data"
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
    assert line.startswith("ingest: 16 videos used, train ") and line.endswith("; 0 rejected")
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
    from pipelines.video import decoder

    monkeypatch.chdir(place)
    paths = {each.name: each.path for each in open_source(toy())}
    for clip in read_clips(place / "shards", split="train", count=5, seed=1):
        name, number = clip.name.split("@")
        frames = list(decoder.decode(paths[name]).frames)[int(number) : int(number) + 16]
        expected = np.stack([square(frame, 32) for frame in frames]).transpose(0, 3, 1, 2)
        assert np.array_equal(clip.frames.numpy(), expected)


def test_tasks_have_absolute_addresses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task on a cluster that is there already runs in another folder than the stage."""
    monkeypatch.chdir(place)
    seen: list[IngestTask] = []

    def run_elsewhere(tasks: Sequence[IngestTask]) -> Results:
        seen.extend(tasks)
        with task_runner() as work, contextlib.chdir("/"):
            yield from ((number, work(task)) for number, task in enumerate(tasks))

    line = ingest(toy(), CLIPS, SHARDS, Path("elsewhere"), run=run_elsewhere)
    assert "0 rejected" in line and read_index("elsewhere").digest == read_index(str(place / "shards")).digest
    assert all(Path(video.path).is_absolute() for task in seen for video in task.videos)
    assert all(Path(task.request.address).is_absolute() for task in seen)


def test_two_readers_get_pairs(place: Path) -> None:
    pairs = [next(read(place / "shards", reader_index=rank, num_readers=2, seed=0, batch_size=3)) for rank in range(2)]
    assert all(pair.frames.shape == (3, 2, 3, 32, 32) and pair.labels is None for pair in pairs)
    assert not np.array_equal(pairs[0].frames, pairs[1].frames)


def test_bytes_do_not_depend_on_the_number_of_processes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), CLIPS, SHARDS, tmp_path / "one", jobs=1)
    assert tree(tmp_path / "one") == tree(place / "shards")


def test_too_much_refused_fails_the_stage(place: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in sorted((place / "outputs/raw/toy/seed0").glob("*.mp4"))[:8]:
        (raw / path.name).write_bytes(path.read_bytes())
    for number in range(4):
        (raw / f"bad{number}.mp4").write_text("not a video")
    source = source_config(name="folder", path=str(raw), max_rejected=0.3)
    with pytest.raises(UserError, match=r"^source\.max_rejected=0\.3: 4 of 12 videos were rejected: .*bad\d\.mp4"):
        ingest(source, CLIPS, SHARDS, tmp_path / "out")
    assert not (tmp_path / "out/index.json").exists()
    line = ingest(source_config(name="folder", path=str(raw), max_rejected=0.4), CLIPS, SHARDS, tmp_path / "out")
    assert "4 rejected" in line


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
    assert found["frames_sampled"] == 16 * 3 and set(index.software) >= {"numpy", "av", "simplejpeg"}


def test_classes_are_labels(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    ingest(toy(classes=True), CLIPS, SHARDS, tmp_path)
    index = read_index(tmp_path)
    assert set(index.classes) == {
        toy_source.class_of(toy_source.draw_label(toy().toy.seed, number)) for number in range(16)
    }
    for clip in read_clips(tmp_path, split="train", count=20, seed=0):
        assert clip.label is not None and clip.name.startswith(index.classes[clip.label] + "/")
    labels = next(read(tmp_path, reader_index=0, num_readers=1, seed=0, batch_size=32, labeled=True)).labels
    assert labels is not None and set(labels.tolist()) <= set(range(len(index.classes)))
    with pytest.raises(UserError, match="have no classes"):
        read(place / "shards", reader_index=0, num_readers=1, seed=0, batch_size=1, labeled=True)


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
    assert set(report["rejected"]) == {"empty.mp4", "half.mp4", "text.avi"}
    assert (report["videos"], report["used"]) == (11, 8)
    assert "8 videos used" in line and "3 rejected" in line and "empty.mp4 (the file is empty)" in line


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
        with pytest.raises(UserError, match="no usable video for the train split: 8 rejected"):
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
    assert set(report["rejected"]) == {f"broken/{path.name}" for path in (SHARED / "broken").iterdir()}
    assert report["used"] == 18 and all(report["rejected"].values())
