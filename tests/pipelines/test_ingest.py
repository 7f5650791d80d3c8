from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from digan.data.clips import ClipsConfig
from digan.errors import UserError
from pipelines import ingest as stage
from pipelines.ingest import ingest
from pipelines.media.shard_writer import ShardsConfig, SplitWriter
from pipelines.media.shards import PairReader, read_clips, read_index
from pipelines.sources import SourceConfig, open_source
from tests.conftest import source_config

SHARED = Path(__file__).parents[3] / "shared" / "data"
CLIPS = ClipsConfig(resolution=32, frames=16, frame_stride=1, validation_share=0.3)
SHARDS = ShardsConfig(encoding="png", jpeg_quality=95, megabytes=0.1)


def toy(count: int = 16, classes: bool = False) -> SourceConfig:
    return source_config(classes=classes, toy_videos=count)


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
    assert sum(count["clips"] for count in index.counts.values()) == 16 * 9
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
    pairs = [next(PairReader(place / "shards", rank=rank, world=2, seed=0, batch_size=3)) for rank in range(2)]
    assert all(pair.frames.shape == (3, 2, 3, 32, 32) and pair.labels is None for pair in pairs)
    assert not np.array_equal(pairs[0].frames, pairs[1].frames)


def test_bytes_do_not_depend_on_the_number_of_processes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ingest(toy(), CLIPS, SHARDS, tmp_path / "one", processes=1)
    assert tree(tmp_path / "one") == tree(place / "shards")


def test_an_interrupted_ingest_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    out = tmp_path / "out"
    calls = iter(range(100))

    def interrupted(job: object) -> float:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return 60

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_seconds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(toy(), CLIPS, SHARDS, out)
    assert not (out / "index.json").exists() and list((out / ".building/train").glob("*.tar"))
    ingest(toy(), CLIPS, SHARDS, out)
    assert "goes on after" in capsys.readouterr().out
    assert tree(out) == tree(place / "shards")


@pytest.mark.parametrize("shards_written", [2, 5])
def test_an_interrupt_in_the_middle_of_a_long_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards_written: int
) -> None:
    """Each segment of these videos fills a shard, so a start goes on at a segment that is not its video's first."""
    import av

    (tmp_path / "raw").mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        with av.open(str(tmp_path / f"raw/{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for picture in random.integers(0, 256, (150, 32, 32, 3), dtype=np.uint8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    close, calls = SplitWriter.close_shard, iter(range(100))

    def interrupted(self: SplitWriter, **place: int) -> None:
        close(self, **place)
        if next(calls) == shards_written - 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SplitWriter, "close_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(folder(tmp_path / "raw"), CLIPS, SHARDS, tmp_path / "out")
    ingest(folder(tmp_path / "raw"), CLIPS, SHARDS, tmp_path / "out")
    ingest(folder(tmp_path / "raw"), CLIPS, SHARDS, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    counts = read_index(tmp_path / "out").counts
    assert sum(count["clips"] for count in counts.values()) == 5 * 135
    assert counts["train"]["shards"] == counts["train"]["segments"] > 4


def test_classes_are_labels(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    ingest(toy(classes=True), CLIPS, SHARDS, tmp_path)
    index = read_index(tmp_path)
    assert index.classes == ("circle", "heart", "square", "triangle")
    for clip in read_clips(tmp_path, split="train", count=20, seed=0):
        assert clip.label is not None and clip.name.startswith(index.classes[clip.label] + "/")
    labels = next(PairReader(tmp_path, rank=0, world=1, seed=0, batch_size=32, labelled=True)).labels
    assert labels is not None and set(labels.tolist()) <= set(range(4))
    with pytest.raises(UserError, match="have no classes"):
        PairReader(place / "shards", rank=0, world=1, seed=0, batch_size=1, labelled=True)


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
    longer = ClipsConfig(resolution=32, frames=20, frame_stride=2, validation_share=0.3)
    with pytest.raises(UserError, match="is too short: 24 frames, a clip needs 39"):
        ingest(toy(), longer, SHARDS, tmp_path / "out")
    rare = ClipsConfig(resolution=32, frames=16, frame_stride=1, validation_share=0.001)
    with pytest.raises(UserError, match=r"^clips\.validation_share=0\.001: none of the 16 videos .* val split"):
        ingest(toy(), rare, SHARDS, tmp_path / "out")


def test_an_output_that_cannot_be_written_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "file").touch()
    with pytest.raises(UserError, match="file/shards: cannot be written"):
        ingest(toy(), CLIPS, SHARDS, place / "file/shards")


def test_the_isolated_side_needs_no_torch() -> None:
    code = "import sys, pipelines.media.encode, decord, av; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
