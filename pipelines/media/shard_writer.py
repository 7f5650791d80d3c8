"""Segments to tars with equal bytes for equal input; each shard appears whole or not at all and is found again after
a crash.

The set grows in ``OUT/.building``. Beside each finished shard lies a record of which inputs went into it, so that a
new start goes on behind the last whole shard. At the end the set takes the place of an older one, the index last.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.media import pictures
from pipelines.media.encode import EncodedSegment
from pipelines.media.shard_index import INDEX, Shard

BUILDING = ".building"


@dataclass(frozen=True, kw_only=True)
class ShardsConfig:
    """The section ``shards`` of params.yaml."""

    encoding: str
    jpeg_quality: int
    megabytes: float

    def __post_init__(self) -> None:
        if self.encoding not in pictures.SUFFIX:
            raise UserError(f"shards.encoding={self.encoding}: must be one of {', '.join(pictures.SUFFIX)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise UserError(f"shards.jpeg_quality={self.jpeg_quality}: must be from 1 to 100; try 95")
        if not 0.05 <= self.megabytes <= 10_000:
            raise UserError(f"shards.megabytes={self.megabytes}: must be from 0.05 to 10000; try 100")


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Where a split stands: the next video and segment to be written, whole shards, a record of every video."""

    video: int = 0
    segment: int = 0
    shards: tuple[Shard, ...] = ()
    records: tuple[dict[str, Any], ...] = ()


@dataclass
class SplitWriter:
    """Writes one split; ``limit`` bytes and ``most_videos`` bound a shard, its bytes depend on ``fingerprint`` alone.

    A shard holds at least one segment, even one larger than the limit.
    """

    folder: Path
    split: str
    fingerprint: str
    suffix: str
    limit: int
    most_videos: int
    shards: list[Shard] = field(default_factory=list)
    _tar: io.BytesIO = field(default_factory=io.BytesIO)
    _windows: list[int] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _records: list[dict[str, Any]] = field(default_factory=list)
    _size: int = 0

    def __post_init__(self) -> None:
        (self.folder / self.split).mkdir(parents=True, exist_ok=True)
        (self.folder / "records").mkdir(exist_ok=True)

    def resume(self) -> Resumed:
        """Take over the whole shards of an earlier start with the same fingerprint and remove what else lies there."""
        resumed = Resumed()
        records: list[dict[str, Any]] = []
        while (found := self._restored(len(self.shards))) is not None:
            self.shards.append(found[0])
            records += found[1]["records"]
            resumed = Resumed(
                video=found[1]["video"], segment=found[1]["segment"], shards=tuple(self.shards), records=tuple(records)
            )
        kept = {Path(shard.path).name for shard in self.shards}
        for stray in (self.folder / self.split).iterdir():
            if stray.name not in kept:
                stray.unlink()
        return resumed

    def add(self, meta: dict[str, Any], segment: EncodedSegment, *, video: int, number: int, clip_frames: int) -> None:
        """Append a segment as a sample, after closing the shard in hand if it would get too large."""
        name = meta["name"]
        key = sample_key(name, number)
        members = {f"{k:04d}.{self.suffix}": data for k, data in enumerate(segment.pictures)}
        members["json"] = json.dumps({**meta, "frame_numbers": segment.numbers}, sort_keys=True).encode()
        size = sum(512 + -(-len(data) // 512) * 512 for data in members.values())
        full = self._size + size + 10240 > self.limit or len(self._names | {name}) > self.most_videos
        if self._windows and full:
            self.close_shard(video=video, segment=number)
        self._append({"__key__": key, **members})
        self._size += size
        self._names.add(name)
        self._windows.append(len(segment.numbers) - clip_frames + 1)

    def record(self, record: dict[str, Any]) -> None:
        """Note what became of a video; kept with the shard in hand."""
        self._records.append(record)

    def close_shard(self, *, video: int, segment: int) -> None:
        """Write the shard in hand; (video, segment) is what comes after it. Nothing happens where it is empty."""
        if not self._windows:
            return
        number = len(self.shards)
        data = self._finish()
        shard = Shard(
            path=f"{self.split}/{number:06d}.tar",
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            videos=len(self._names),
            windows=tuple(self._windows),
        )
        write_whole(self.folder / shard.path, data)
        record = {
            "fingerprint": self.fingerprint,
            "video": video,
            "segment": segment,
            "shard": asdict(shard),
            "records": self._records,
        }
        write_whole(self._record_path(number), json.dumps(record).encode())
        self.shards.append(shard)
        self._windows, self._names, self._records, self._size = [], set(), [], 0

    def _record_path(self, number: int) -> Path:
        return self.folder / "records" / f"{self.split}-{number:06d}.json"

    def _restored(self, number: int) -> tuple[Shard, dict[str, Any]] | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self._record_path(number).read_text())
            shard = Shard(**{**record["shard"], "windows": tuple(record["shard"]["windows"])})
            with (self.folder / shard.path).open("rb") as stream:
                same = hashlib.file_digest(stream, "sha256").hexdigest() == shard.sha256
            if same and record["fingerprint"] == self.fingerprint:
                return shard, record
        return None

    def _append(self, sample: dict[str, Any]) -> None:
        from webdataset import TarWriter

        if not self._windows:
            self._tar = io.BytesIO()
            self._writer = TarWriter(self._tar, encoder=False, mtime=0, user="root", group="root", compress=False)
        self._writer.write(sample)

    def _finish(self) -> bytes:
        self._writer.close()
        return self._tar.getvalue()


def sample_key(name: str, number: int) -> str:
    """A key without dots or slashes, unique for a video's name: a readable part, a hash of the whole name, the
    segment's number.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name.rsplit(".", 1)[0]).strip("_")[-48:]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:10]}-{number:04d}"


def write_whole(path: Path, data: bytes) -> None:
    """A file appears with all its bytes or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def put_in_place(building: Path, out: Path, splits: list[str], index: str, report: str) -> None:
    """Replace what lies in ``out`` by the finished set: the old index goes first, the new one comes last."""
    (out / INDEX).unlink(missing_ok=True)
    for split in splits:
        shutil.rmtree(out / split, ignore_errors=True)
        (building / split).replace(out / split)
    write_whole(out / "ingest_report.json", report.encode())
    write_whole(out / INDEX, index.encode())
    shutil.rmtree(building, ignore_errors=True)
