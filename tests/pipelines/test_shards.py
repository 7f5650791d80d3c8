from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.errors import UserError
from pipelines.media import pictures
from pipelines.media.encode import EncodedSegment
from pipelines.media.shard_index import ShardIndex, digest_of, index_to_json
from pipelines.media.shard_writer import SplitWriter, sample_key
from pipelines.media.shards import PairReader, ShardsConfig, read_clips, read_index, read_shard

FRAMES = 4


def write_split(folder: Path, split: str, videos: int, limit: int = 8000, fingerprint: str = "a") -> SplitWriter:
    """Videos of 6 + k % 3 frames; red is the video's number, green the frame's, the left half is brighter in blue."""
    writer = SplitWriter(
        folder=folder, split=split, fingerprint=fingerprint, suffix="png", limit=limit, most_videos=100
    )
    done = writer.resume()
    for video in range(done.video, videos):
        frames = np.zeros((6 + video % 3, 32, 32, 3), np.uint8)
        frames[..., 0], frames[:, :, :16, 2] = video, 255
        frames[..., 1] = np.arange(len(frames))[:, None, None]
        segment = EncodedSegment(
            pictures=tuple(pictures.encode(frame, "png", 0) for frame in frames), numbers=tuple(range(len(frames)))
        )
        meta = {"name": f"c{video % 2}/{video}.mp4", "category": f"c{video % 2}", "label": video % 2, "fps": 25}
        writer.add(meta, segment, video=video, number=0, clip_frames=FRAMES)
    writer.close_shard(video=videos, segment=0)
    return writer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    splits = {split: tuple(write_split(out, split, videos).shards) for split, videos in (("train", 12), ("val", 3))}
    index = ShardIndex(
        folder=out,
        resolution=32,
        frames=FRAMES,
        frame_stride=1,
        encoding="png",
        classes=("c0", "c1"),
        splits=splits,
        origin={},
        software={},
        counts={},
        digest=digest_of(splits),
    )
    (out / "index.json").write_text(index_to_json(index))
    return out


def reader(folder: Path, **changes: object) -> PairReader:
    return PairReader(folder, **{"rank": 0, "world": 1, "seed": 0, "batch_size": 5, **changes})  # type: ignore[arg-type]


def test_the_index_comes_back(folder: Path) -> None:
    index = read_index(folder)
    assert index_to_json(index) == (folder / "index.json").read_text()
    assert len(index.splits["train"]) > 2
    assert index.digest == digest_of(index.splits)
    assert sum(shard.clips for shard in index.splits["train"]) == sum(3 + video % 3 for video in range(12))


def test_any_webdataset_reads_the_tars(folder: Path) -> None:
    wds = pytest.importorskip("webdataset")
    first = next(iter(wds.WebDataset(str(folder / "train/000000.tar"), shardshuffle=False).decode("rgb8")))
    assert first["0000.png"].shape == (32, 32, 3)
    assert first["json"]["name"] == "c0/0.mp4" and first["json"]["frame_numbers"][0] == 0


def test_members_carry_no_time_and_no_user(folder: Path) -> None:
    with tarfile.open(folder / "train/000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "root")}


def test_shards_keep_the_limit(folder: Path) -> None:
    assert all(shard.bytes <= 20480 for shard in read_index(folder).splits["train"])


def test_pairs_are_two_frames_of_one_window(folder: Path) -> None:
    batches = reader(folder, labelled=True)
    seen = set()
    for _ in range(60):
        pair = next(batches)
        bytes_ = ((pair.frames + 1) * 127.5).round().long()[:, :, :, 0, 0]  # [B, 2, 3]
        videos, numbers = bytes_[:, :, 0], bytes_[:, :, 1]
        assert torch.equal(videos[:, 0], videos[:, 1])
        steps = (pair.times * (FRAMES - 1)).round().long()
        assert torch.equal(numbers[:, 1] - numbers[:, 0], steps[:, 1] - steps[:, 0])
        starts = numbers[:, 0] - steps[:, 0]
        assert (starts >= 0).all() and (starts < 3 + videos[:, 0] % 3).all()
        assert pair.labels is not None and torch.equal(pair.labels, videos[:, 0] % 2)
        seen |= set(zip(videos[:, 0].tolist(), starts.tolist(), strict=True))
    assert len(seen) == sum(3 + video % 3 for video in range(12))  # every window has come


def test_starting_late_goes_on_exactly(folder: Path) -> None:
    unbroken = reader(folder, rank=1, world=2, mirror=True)
    for _ in range(40):
        next(unbroken)
    late = reader(folder, rank=1, world=2, mirror=True, start_batch=40)
    for _ in range(3):
        one, other = next(unbroken), next(late)
        assert torch.equal(one.frames, other.frames) and torch.equal(one.times, other.times)


def test_mirror_flips_whole_clips(folder: Path) -> None:
    plain, mirrored = next(reader(folder, batch_size=32)), next(reader(folder, batch_size=32, mirror=True))
    bright_left = mirrored.frames[:, :, 2, 0, 0] > 0
    assert torch.equal(bright_left[:, 0], bright_left[:, 1]) and 0 < bright_left[:, 0].sum() < 32
    assert torch.equal(plain.times, mirrored.times)


def test_clips_for_evaluation(folder: Path) -> None:
    total = sum(3 + video % 3 for video in range(12))
    clips = list(read_clips(folder, split="train", count=total + 5, seed=3))
    assert len({clip.name for clip in clips[:total]}) == total and len(clips) == total + 5
    for clip in clips:
        assert clip.frames.shape == (FRAMES, 3, 32, 32)
        number = int(clip.name.split("@")[1])
        assert clip.frames[:, 1, 0, 0].tolist() == list(range(number, number + FRAMES))
        assert clip.label == int(clip.frames[0, 0, 0, 0]) % 2
    again = list(read_clips(folder, split="train", count=total + 5, seed=3))
    assert [clip.name for clip in clips] == [clip.name for clip in again]
    assert [clip.name for clip in clips] != [clip.name for clip in read_clips(folder, split="train", count=50, seed=4)]


def test_interrupted_writing_goes_on_behind_the_last_whole_shard(tmp_path: Path) -> None:
    whole = write_split(tmp_path / "whole", "train", 12)
    broken = write_split(tmp_path / "broken", "train", 7)
    (tmp_path / "broken/train/000002.tar").write_bytes(b"half a shard")
    (tmp_path / "broken/train/.000003.tar.tmp").write_bytes(b"half")
    written = (tmp_path / "broken/train/000000.tar").stat().st_mtime_ns
    again = write_split(tmp_path / "broken", "train", 12)
    assert len(broken.shards) > 2
    assert again.shards == whole.shards
    assert (tmp_path / "broken/train/000000.tar").stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "broken/train").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole/train").iterdir()
    )
    other = write_split(tmp_path / "broken", "train", 12, fingerprint="b")
    assert other.shards == whole.shards
    assert (tmp_path / "broken/train/000000.tar").stat().st_mtime_ns != written


def test_keys_are_unique_and_plain() -> None:
    keys = {sample_key(name, 0) for name in ("a/b.mp4", "a_b.mp4", "a/b.avi", "a.b/c.mp4", "ü/" + "x" * 300 + ".mp4")}
    assert len(keys) == 5
    assert all(len(key) < 80 and "." not in key and "/" not in key for key in keys)


def test_altered_missing_and_malicious_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    shard = read_index(folder).splits["train"][0]
    with pytest.raises(UserError, match="missing"):
        read_shard(tmp_path / "none.tar", shard)
    (tmp_path / "altered.tar").write_bytes((folder / shard.path).read_bytes() + b"\0")
    with pytest.raises(UserError, match="SHA-256"):
        read_shard(tmp_path / "altered.tar", shard)
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside.0000.png"))
    with pytest.raises(UserError, match="points out of its folder"):
        read_shard(evil, replace(shard, sha256=hashlib.sha256(evil.read_bytes()).hexdigest()))


@pytest.mark.parametrize("path", ["pipe:rm -r x", "../train/000000.tar", "/etc/000000.tar", "train/../000000.tar"])
def test_addresses_that_are_no_shards_are_refused(folder: Path, tmp_path: Path, path: str) -> None:
    content = json.loads((folder / "index.json").read_text())
    content["splits"]["train"][0]["path"] = path
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is refused"):
        read_index(tmp_path)


def test_a_missing_index_or_split_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"index\.json: no such file"):
        read_index(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(UserError, match="not an index"):
        read_index(tmp_path)
    with pytest.raises(UserError, match="no clips in split 'test'"):
        reader(folder, split="test")


@pytest.mark.parametrize(("key", "value"), [("encoding", "gif"), ("jpeg_quality", 0), ("megabytes", 0)])
def test_impossible_values_name_their_place(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^shards\.{key}={value}: must"):
        ShardsConfig(**{"encoding": "png", "jpeg_quality": 95, "megabytes": 1, key: value})  # type: ignore[arg-type]


def test_pictures_keep_what_they_promise() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 11:] = (255, 30, 90)
    assert np.array_equal(pictures.decode(pictures.encode(picture, "png", 1)), picture)
    jpeg = pictures.decode(pictures.encode(picture, "jpeg", 95))
    assert np.abs(jpeg.astype(int) - picture).max() < 40  # 4:2:0 would be off by far more at the edge
    with pytest.raises(ValueError, match="not a picture"):
        pictures.decode(b"GIF89a")
