from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digan.errors import UserError
from digan.types import FramePair
from pipelines.dataset import shard_reader
from pipelines.dataset.loader import LoaderConfig, PairLoader, read, read_clips, read_index, read_shard
from pipelines.dataset.shard_index import Shard, ShardIndex, digest_of, index_to_json
from pipelines.dataset.shard_writer import IngestWriter, sample_key
from pipelines.video import image_codec
from pipelines.video.transcode import EncodedSegment
from tests.conftest import shards_config

FRAMES = 4


def write_split(folder: Path, split: str, videos: int, limit: int = 20000) -> IngestWriter:
    """Videos of 6 + k % 3 frames; red is the video's number, green the frame's, the left half is brighter in blue."""
    writer = IngestWriter(address=str(folder), split=split, task_number=0, suffix="png", limit=limit)
    for video in range(videos):
        frames = np.zeros((6 + video % 3, 32, 32, 3), np.uint8)
        frames[..., 0], frames[:, :, :16, 2] = video, 255
        frames[..., 1] = np.arange(len(frames))[:, None, None]
        segment = EncodedSegment(
            pictures=tuple(image_codec.encode(frame, "png", 0) for frame in frames), numbers=tuple(range(len(frames)))
        )
        meta = {"name": f"c{video % 2}/{video}.mp4", "category": f"c{video % 2}", "label": video % 2, "fps": 25}
        writer.add(meta, segment, number=0, clip_frames=FRAMES)
    writer.close_shard()
    return writer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    splits = {split: tuple(write_split(out, split, videos).shards) for split, videos in (("train", 12), ("val", 3))}
    index = ShardIndex(
        address=str(out),
        resolution=32,
        frames=FRAMES,
        frame_stride=1,
        encoding="png",
        classes=("c0", "c1"),
        splits=splits,
        source={},
        software={},
        counts={},
        statistics={},
        digest=digest_of(splits),
    )
    (out / "index.json").write_text(index_to_json(index))
    return out


def reader(folder: Path, **changes: object) -> Iterator[FramePair]:
    options = {"reader_index": 0, "num_readers": 1, "seed": 0, "batch_size": 5, **changes}
    return read(folder, **options)  # type: ignore[arg-type]


def test_index_with_the_former_key_origin_is_read(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "index.json").read_text())
    content["origin"] = {**content.pop("source"), "name": "toy"}
    (tmp_path / "index.json").write_text(json.dumps(content))
    assert read_index(tmp_path).source == {"name": "toy"}


def test_index_survives_writing_and_reading(folder: Path) -> None:
    index = read_index(folder)
    assert index_to_json(index) == (folder / "index.json").read_text()
    assert len(index.splits["train"]) > 2
    assert index.digest == digest_of(index.splits)
    assert sum(shard.clips for shard in index.splits["train"]) == sum(3 + video % 3 for video in range(12))


def test_any_webdataset_reads_the_tars(folder: Path) -> None:
    wds = pytest.importorskip("webdataset")
    first = next(iter(wds.WebDataset(str(folder / "train/00000000.tar"), shardshuffle=False).decode("rgb8")))
    assert first["0000.png"].shape == (32, 32, 3)
    assert first["json"]["name"] == "c0/0.mp4" and first["json"]["frame_numbers"][0] == 0


def test_members_carry_no_time_and_no_user(folder: Path) -> None:
    with tarfile.open(folder / "train/00000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "root")}


def test_shards_keep_the_limit(folder: Path) -> None:
    assert all(shard.bytes <= 20480 for shard in read_index(folder).splits["train"])


def test_pairs_are_two_frames_of_one_window(folder: Path) -> None:
    batches = reader(folder, labeled=True)
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


def test_starting_late_gives_the_same_batches(folder: Path) -> None:
    unbroken = reader(folder, reader_index=1, num_readers=2, horizontal_flip=True)
    for _ in range(40):
        next(unbroken)
    late = reader(folder, reader_index=1, num_readers=2, horizontal_flip=True, start_batch=40)
    for _ in range(3):
        one, other = next(unbroken), next(late)
        assert torch.equal(one.frames, other.frames) and torch.equal(one.times, other.times)


def clip_of(pair: FramePair) -> tuple[int, int]:
    """Video and first frame of the clip that a batch of one pair shows."""
    red, green, _ = ((pair.frames[0, 0, :, 0, 0] + 1) * 127.5).round().long().tolist()
    return red, green - round(float(pair.times[0, 0]) * (FRAMES - 1))


def test_readers_share_an_epoch(folder: Path) -> None:
    """Four readers: 48 windows, none read twice before all are read."""
    met = [
        clip_of(pair)
        for reader_index in range(4)
        for pair in islice(read(folder, reader_index=reader_index, num_readers=4, seed=3, batch_size=1), 12)
    ]
    assert len(set(met)) == 48 == len(met)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_a_micro_batch_the_same_clips(folder: Path, workers: int) -> None:
    """Loaders of several readers return what a loader of one reader does, across epochs and shuffle groups."""
    config = LoaderConfig(seed=5, batch_size=3, horizontal_flip=True, labeled=True, buffer_bytes=2**16)
    for worker in range(workers):
        indices = range(worker, 4, workers)
        shared = PairLoader(folder, config, reader_indices=indices, num_readers=4, start_batch=2)
        alone = [PairLoader(folder, config, reader_indices=[i], num_readers=4, start_batch=2) for i in indices]
        for pairs in islice(shared, 20):
            for pair, loader in zip(pairs, alone, strict=True):
                (expected,) = next(loader)
                assert torch.equal(pair.frames, expected.frames) and torch.equal(pair.times, expected.times)
                assert pair.labels is not None and torch.equal(pair.labels, expected.labels)  # type: ignore[arg-type]


def test_readers_of_a_worker_fetch_a_shard_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def counted(address: str, shard: Shard) -> object:
        fetched.append(shard.path)
        return read_shard(address, shard)

    monkeypatch.setattr(shard_reader, "read_shard", counted)
    config = LoaderConfig(seed=0, batch_size=1)
    loader = PairLoader(folder, config, reader_indices=range(4), num_readers=4)
    next(loader)
    for pending in loader._store._shards.values():  # the shards of later batches are fetched in the background
        pending.result()
    assert sorted(fetched) == [shard.path for shard in read_index(folder).splits["train"]]


def test_a_buffer_smaller_than_a_shard_still_gives_every_clip_once(folder: Path) -> None:
    config = LoaderConfig(seed=0, batch_size=1, buffer_bytes=1)
    loader = PairLoader(folder, config, reader_indices=[0], num_readers=1)
    met = set()
    for (pair,) in islice(loader, 48):
        met.add(clip_of(pair))
        assert len(loader._store._shards) <= 2
    assert len(met) == 48


def test_horizontal_flip_flips_whole_clips(folder: Path) -> None:
    plain, mirrored = next(reader(folder, batch_size=32)), next(reader(folder, batch_size=32, horizontal_flip=True))
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


def test_keys_are_unique_and_plain() -> None:
    keys = {sample_key(name, 0) for name in ("a/b.mp4", "a_b.mp4", "a/b.avi", "a.b/c.mp4", "ü/" + "x" * 300 + ".mp4")}
    assert len(keys) == 5
    assert all(len(key) < 80 and "." not in key and "/" not in key for key in keys)


def test_altered_and_missing_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    shard = read_index(folder).splits["train"][0]
    with pytest.raises(UserError, match="missing"):
        read_shard(tmp_path / "none.tar", shard)
    (tmp_path / "altered.tar").write_bytes((folder / shard.path).read_bytes() + b"\0")
    with pytest.raises(UserError, match="SHA-256"):
        read_shard(tmp_path / "altered.tar", shard)


def test_damaged_pictures_are_named(folder: Path, tmp_path: Path) -> None:
    """Bytes that agree with their index and are no pictures all the same."""
    shutil.copytree(folder, tmp_path / "set")
    content = json.loads((folder / "index.json").read_text())
    for shard in content["splits"]["train"]:
        path = tmp_path / "set" / shard["path"]
        path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDOT"))
        shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "set/index.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"train/0\d+\.tar: sample \d+: not a picture"):
        next(reader(tmp_path / "set"))


@pytest.mark.parametrize("path", ["pipe:rm -r x", "../train/000000.tar", "/etc/000000.tar", "train/../000000.tar"])
def test_addresses_that_are_no_shards_are_refused(folder: Path, tmp_path: Path, path: str) -> None:
    content = json.loads((folder / "index.json").read_text())
    content["splits"]["train"][0]["path"] = path
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is rejected"):
        read_index(tmp_path)


def test_a_missing_index_or_split_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"index\.json: no such file"):
        read_index(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(UserError, match="not an index"):
        read_index(tmp_path)
    with pytest.raises(UserError, match="no clips in split 'test'"):
        reader(folder, split="test")


@pytest.mark.parametrize(
    ("key", "value"), [("encoding", "gif"), ("jpeg_quality", 0), ("megabytes", 0), ("address", "x")]
)
def test_impossible_values_name_their_place(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^shards\.{key}={value}: must"):
        shards_config(**{key: value})


def test_pictures_keep_what_they_promise() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 11:] = (255, 30, 90)
    for lossless in ("png", "webp"):
        assert np.array_equal(image_codec.decode(image_codec.encode(picture, lossless, 1)), picture)
    jpeg = image_codec.decode(image_codec.encode(picture, "jpeg", 95))
    assert np.abs(jpeg.astype(int) - picture).max() < 40  # 4:2:0 would be off by far more at the edge
    for bad in (b"GIF89a", b"\xff\xd8\xff", image_codec.encode(picture, "jpeg", 95)[:300]):
        with pytest.raises(ValueError):
            image_codec.decode(bad)
    with pytest.raises(ValueError, match="another size"):
        image_codec.stack([image_codec.encode(picture, "jpeg", 95)], 64)


def test_the_fast_jpeg_decoder_agrees_with_pillow() -> None:
    random = np.random.default_rng(0)
    for quality in (50, 95):
        data = image_codec.encode(random.integers(0, 256, (32, 32, 3), dtype=np.uint8), "jpeg", quality)
        assert np.array_equal(image_codec.decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
