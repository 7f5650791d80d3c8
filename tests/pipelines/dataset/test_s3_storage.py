"""Videos and shards on a real S3 server: ingest, reading, the cache, and what a bad network may do to them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digan.errors import UserError
from pipelines.dataset.loader import read, read_clips, read_index
from pipelines.ingest import ingest
from pipelines.storage import file_io, s3
from tests.conftest import clips_config, shards_config, source_config
from tests.s3 import Fault, S3Server, faulty

CLIPS = clips_config(resolution=32, frames=4, frame_stride=1, validation_share=0.3)


def strips(root: Path, count: int = 24) -> None:
    """Videos as strips of six frames; a video's number is its red, a frame's its green."""
    for number in range(count):
        frames = np.zeros((32, 6 * 32, 3), np.uint8)
        frames[..., 0] = 10 * number
        frames[..., 1] = np.repeat(np.arange(6) * 40, 32)
        path = root / f"class{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frames).save(path)


@pytest.fixture
def shards(tmp_path: Path, s3_bucket: str) -> str:
    """The address of shards on S3; the same set is at ``tmp_path / "local"``, and its index at ``index``."""
    strips(tmp_path / "raw")
    source = source_config(name="frames", frames={"layout": "strips"}, path=str(tmp_path / "raw"), classes=True)
    address = file_io.join(s3_bucket, "set/of shards")
    ingest(source, CLIPS, shards_config(encoding="png", megabytes=0.05), tmp_path / "local")
    ingest(source, CLIPS, shards_config(encoding="png", megabytes=0.05, address=address), tmp_path / "index")
    return address


def test_shards_on_s3_are_those_of_a_disk(shards: str, tmp_path: Path) -> None:
    local, remote, here = (read_index(place) for place in (tmp_path / "local", shards, tmp_path / "index"))
    assert local.splits == remote.splits == here.splits and remote.address == here.address == shards
    assert sorted(file_io.list_names(shards)) == sorted(file_io.list_names(tmp_path / "local"))
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["index.json", "ingest_report.json"]
    for shard in local.splits["train"]:
        assert file_io.read_bytes(file_io.join(shards, shard.path)) == (tmp_path / "local" / shard.path).read_bytes()
    for place in (shards, tmp_path / "index"):
        one = read(place, reader_index=0, num_readers=1, seed=1, batch_size=5, labeled=True)
        other = read(tmp_path / "local", reader_index=0, num_readers=1, seed=1, batch_size=5, labeled=True)
        for _ in range(5):
            assert torch.equal(next(one).frames, next(other).frames)


def test_ingest_from_and_to_s3_goes_on(
    shards: str, s3_bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in file_io.list_names(tmp_path / "raw"):
        file_io.copy(tmp_path / "raw" / entry, file_io.join(s3_bucket, "raw", entry))
    source = source_config(
        name="frames", frames={"layout": "strips"}, path=file_io.join(s3_bucket, "raw"), classes=True
    )
    config = shards_config(encoding="png", megabytes=0.05, address=file_io.join(s3_bucket, "other"))
    write, calls = file_io.write_bytes, iter(range(1000))

    def killed(address: str, data: bytes) -> None:
        write(address, data)
        if next(calls) == 12:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_io, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(source, CLIPS, config, tmp_path / "index2")
    assert not file_io.exists(file_io.join(s3_bucket, "other/index.json"))
    ingest(source, CLIPS, config, tmp_path / "index2")
    assert "resuming after" in capsys.readouterr().out
    assert read_index(tmp_path / "index2").splits == read_index(tmp_path / "local").splits
    assert not any(".building" in name for name in file_io.list_names(file_io.join(s3_bucket, "other")))


@pytest.mark.slow
def test_with_faults_an_epoch_is_every_clip_once(
    shards: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tenth request fails, every twentieth body is cut in the middle and bytes are slow: two ranks, one epoch."""
    index = read_index(tmp_path / "local")
    total = sum(shard.clips for shard in index.splits["train"])
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.01)

    def fault(number: int, method: str, path: str) -> Fault:
        return Fault(refuse=number % 10 == 0, cut=0.5 if number % 20 == 5 else None, pause=0.001)

    with faulty(s3_server, fault) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.server.endpoint)
        for _ in range(6):
            clips = list(read_clips(shards, split="train", count=total, seed=0))
            assert len({clip.name for clip in clips}) == total
        met = Counter(window for rank in range(2) for window in windows_of_an_epoch(shards, rank, total))
    assert len(met) == total and set(met.values()) == {1}
    assert proxy.rejected >= 5 and proxy.cut >= 2


def windows_of_an_epoch(shards: str, rank: int, total: int) -> list[tuple[int, int]]:
    """(video, first frame) of what rank ``rank`` of two reads in the first epoch, told by the colours of the pairs."""
    reader = read(shards, reader_index=rank, num_readers=2, seed=0, batch_size=1)
    share = (rank + 1) * total // 2 - rank * total // 2
    found = []
    for _ in range(share):
        pair = next(reader)
        red, green, _ = ((pair.frames[0, 0, :, 0, 0] + 1) * 127.5).round().long().tolist()
        found.append((red // 10, green // 40 - round(float(pair.times[0, 0]) * 3)))
    return found


def test_missing_and_altered_shards_are_one_line(
    shards: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = read_index(shards).splits["train"][0]
    address = file_io.join(shards, shard.path)
    data = file_io.read_bytes(address)
    file_io.write_bytes(address, data[:-1] + b"1")
    with pytest.raises(UserError, match=r"train/0\d+\.tar: is not the shard that the index names"):
        list(read_clips(shards, split="train", count=60, seed=0))
    file_io.delete(address)
    with pytest.raises(UserError, match=r"^s3://.*train/0\d+\.tar: shard is missing; make the shards again"):
        list(read_clips(shards, split="train", count=60, seed=0))


def test_a_shard_that_arrives_altered_is_fetched_again(shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, calls = file_io.read_bytes, Counter[str]()

    def altered(address: str) -> bytes:
        calls[address] += 1
        data = fetch(address)
        return data if calls[address] > 1 or not address.endswith(".tar") else data[:600] + b"!" + data[601:]

    monkeypatch.setattr(file_io, "read_bytes", altered)
    assert len(list(read_clips(shards, split="train", count=20, seed=0))) == 20


def test_the_cache_is_used_and_bounded(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(shards)
    count, sizes = index.counts["train"]["clips"], [shard.bytes for shard in index.splits["train"]]
    monkeypatch.setenv("DIGAN_CACHE", str(tmp_path / "cache"))

    def names() -> list[str]:
        return [clip.name for clip in read_clips(shards, split="train", count=count, seed=0)]

    before = names()
    assert {path.stem for path in (tmp_path / "cache").iterdir()} == {s.sha256 for s in index.splits["train"]}
    for shard in index.splits["train"]:
        file_io.delete(file_io.join(shards, shard.path))
    assert names() == before  # all of it comes from the cache
    first = tmp_path / "cache" / f"{index.splits['train'][0].sha256}.tar"
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="shard is missing"):  # an altered file of the cache is not used
        names()
    shutil.rmtree(tmp_path / "cache")
    for shard in index.splits["train"]:
        file_io.copy(tmp_path / "local" / shard.path, file_io.join(shards, shard.path))
    monkeypatch.setenv("DIGAN_CACHE_GB", str(2.5 * max(sizes) / 1e9))
    assert names() == before
    assert 0 < sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 2.5 * max(sizes)
    monkeypatch.setenv("DIGAN_CACHE_GB", "much")
    with pytest.raises(UserError, match="DIGAN_CACHE_GB=much: must be a number"):
        names()


def test_any_webdataset_reads_the_shards_from_s3(shards: str, tmp_path: Path) -> None:
    """By a stream that the user opens, as with any other tar."""
    from webdataset import tariterators

    shard = read_index(shards).splits["train"][0]
    with file_io.open_read(file_io.join(shards, shard.path)) as stream:
        members = tariterators.tar_file_expander([{"url": shard.path, "stream": stream}])
        assert len(list(tariterators.group_by_keys(members))) == len(shard.windows)


@pytest.mark.slow
def test_dvc_pushes_and_pulls_to_the_store(s3_bucket: str, s3_server: S3Server, tmp_path: Path) -> None:
    """As docs/data.md says: what one clone has made and pushed, another pulls."""
    first = tmp_path / "first"
    (first / "outputs").mkdir(parents=True)
    strips(tmp_path / "raw", 16)
    source = source_config(name="frames", frames={"layout": "strips"}, path=str(tmp_path / "raw"))
    ingest(source, CLIPS, shards_config(encoding="png", megabytes=0.05), first / "outputs/shards")

    def dvc(folder: Path, *words: str) -> None:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("dvc")), *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **s3_server.environment, "DVC_NO_ANALYTICS": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    dvc(first, "init", "--no-scm", "--quiet")
    dvc(first, "remote", "add", "--default", "store", file_io.join(s3_bucket, "dvc"))
    dvc(first, "remote", "modify", "store", "endpointurl", s3_server.endpoint)
    dvc(first, "add", "outputs/shards")
    dvc(first, "push")
    second = tmp_path / "second"
    second.mkdir()
    shutil.copytree(first / ".dvc", second / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    (second / "outputs").mkdir()
    shutil.copy(first / "outputs/shards.dvc", second / "outputs/shards.dvc")
    dvc(second, "pull")
    pulled = {name: digest(second / "outputs/shards" / name) for name in file_io.list_names(second / "outputs/shards")}
    assert pulled == {
        name: digest(first / "outputs/shards" / name) for name in file_io.list_names(first / "outputs/shards")
    }
    assert (
        next(read(second / "outputs/shards", reader_index=0, num_readers=1, seed=0, batch_size=2)).frames.shape[0] == 2
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
