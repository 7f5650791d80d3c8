"""Segments to tars with equal bytes for equal input; each shard appears whole or not at all and is found again after
a crash.

The videos of a split are written chunk by chunk (chunks.py): a chunk's shards depend on its own videos alone, so any
number of processes on any machines give the same set. The set grows below ``.building``; beside the finished shards of
a chunk lies its record, and a new start takes over every chunk that has one. At the end the set takes the place of an
older one, the index last.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from digan.errors import UserError
from pipelines.media import pictures, storage
from pipelines.media.encode import EncodedSegment, Levels
from pipelines.media.plain_tar import PlainTar
from pipelines.media.shard_index import INDEX, Shard

BUILDING = ".building"
REPORT = "ingest_report.json"
CHUNK_SHARDS = 1000  # the most shards of a chunk; shard 7 of chunk 12 is named 00012007.tar
MOVES = 8  # files that are put in place at once


@dataclass(frozen=True, kw_only=True)
class ShardsConfig:
    """The section ``shards`` of params.yaml."""

    address: str
    encoding: str
    jpeg_quality: int
    megabytes: float

    def __post_init__(self) -> None:
        if self.address and not storage.is_remote(self.address):
            raise UserError(f'shards.address={self.address}: must be s3://bucket/prefix, or "" for outputs/shards')
        if self.encoding not in pictures.SUFFIX:
            raise UserError(f"shards.encoding={self.encoding}: must be one of {', '.join(pictures.SUFFIX)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise UserError(f"shards.jpeg_quality={self.jpeg_quality}: must be from 1 to 100; try 95")
        if not 0.05 <= self.megabytes <= 4_000:
            raise UserError(f"shards.megabytes={self.megabytes}: must be from 0.05 to 4000; try 100")


@dataclass(frozen=True, kw_only=True)
class ChunkDone:
    """A finished chunk: its shards, a record of each of its videos, the levels of its frames."""

    shards: tuple[Shard, ...]
    records: tuple[dict[str, Any], ...]
    levels: Levels


@dataclass
class ChunkWriter:
    """Writes one chunk below ``address``; ``limit`` bytes bound a shard. Memory: one shard.

    A shard holds at least one segment, even one larger than the limit.
    """

    address: str
    split: str
    chunk: int
    suffix: str
    limit: int
    shards: list[Shard] = field(default_factory=list)
    _tar: io.BytesIO = field(default_factory=io.BytesIO)
    _windows: list[int] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _size: int = 0

    def add(self, meta: dict[str, Any], segment: EncodedSegment, *, number: int, clip_frames: int) -> None:
        """Append a segment as a sample, after closing the shard in hand if it would get too large."""
        name = meta["name"]
        members = {f"{k:04d}.{self.suffix}": data for k, data in enumerate(segment.pictures)}
        members["json"] = json.dumps({**meta, "frame_numbers": segment.numbers}, sort_keys=True).encode()
        size = sum(512 + -(-len(data) // 512) * 512 for data in members.values())
        if self._windows and self._size + size + 10240 > self.limit:
            self.close_shard()
        self._append({"__key__": sample_key(name, number), **members})
        self._size += size
        self._names.add(name)
        self._windows.append(len(segment.numbers) - clip_frames + 1)

    def close_shard(self) -> None:
        """Write the shard in hand; nothing happens where it is empty."""
        if not self._windows:
            return
        number = len(self.shards)
        if number >= CHUNK_SHARDS:
            raise UserError(f"shards.megabytes: a video fills more than {CHUNK_SHARDS} shards; make them larger")
        self._writer.close()
        data = self._tar.getvalue()
        shard = Shard(
            path=f"{self.split}/{self.chunk * CHUNK_SHARDS + number:08d}.tar",
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            videos=len(self._names),
            windows=tuple(self._windows),
        )
        storage.write_bytes(storage.join(self.address, shard.path), data)
        self.shards.append(shard)
        self._windows, self._names, self._size = [], set(), 0

    def _append(self, sample: dict[str, Any]) -> None:
        from webdataset import TarWriter

        if not self._windows:
            self._tar = io.BytesIO()
            self._writer = TarWriter(self._tar, encoder=False, mtime=0, user="root", group="root", compress=False)
            self._writer.tarstream = PlainTar(fileobj=self._tar, mode="w", format=tarfile.USTAR_FORMAT)
        self._writer.write(sample)


def sample_key(name: str, number: int) -> str:
    """A key without dots or slashes, unique for a video's name: a readable part, a hash of the whole name, the
    segment's number.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name.rsplit(".", 1)[0]).strip("_")[-48:]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:10]}-{number:04d}"


def record_address(building: str, split: str, chunk: int) -> str:
    """Where the record of a finished chunk lies."""
    return storage.join(building, "records", f"{split}-{chunk:05d}.json")


def write_record(building: str, split: str, chunk: int, fingerprint: str, done: ChunkDone) -> None:
    """Say that a chunk is finished: the last that is written of it."""
    content = {"fingerprint": fingerprint, **asdict(done)}
    storage.write_bytes(record_address(building, split, chunk), json.dumps(content).encode())


def restored(building: str, out: str, split: str, chunk: int, fingerprint: str) -> ChunkDone | None:
    """A chunk that an earlier start with equal input has finished.

    Local shards are compared with their SHA-256 too: a disk may lose after a crash what it had taken before.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(storage.read_bytes(record_address(building, split, chunk)))
        if record["fingerprint"] != fingerprint:
            return None
        shards = tuple(Shard(**{**shard, "windows": tuple(shard["windows"])}) for shard in record["shards"])
        for shard in shards:
            place = storage.join(building, shard.path)
            if not storage.exists(place) and not storage.exists(storage.join(out, INDEX)):
                storage.move(storage.join(out, shard.path), place)  # a start that was killed while it put them in place
            if not _is_there(place, shard):
                return None
        kept = record["levels"]
        levels = Levels(values=kept["values"], sums=tuple(kept["sums"]), squares=tuple(kept["squares"]))
        return ChunkDone(shards=shards, records=tuple(record["records"]), levels=levels)
    return None


def _is_there(address: str, shard: Shard) -> bool:
    if storage.is_remote(address):
        return storage.size(address) == shard.bytes
    with storage.open_read(address) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == shard.sha256  # type: ignore[arg-type]


def put_in_place(building: str, out: str, shards: list[Shard], index: str, report: str) -> None:
    """Replace what lies at ``out`` by the finished set: the old index goes first, the new one comes last."""
    storage.delete(storage.join(out, INDEX))
    for stray in storage.list_names(out):
        if re.fullmatch(r"[a-z]+/\d{6,}\.tar", stray):
            storage.delete(storage.join(out, stray))
    with ThreadPoolExecutor(MOVES) as threads:
        moved = threads.map(
            lambda path: storage.move(storage.join(building, path), storage.join(out, path)),
            [shard.path for shard in shards],
        )
        for _ in moved:
            pass
    storage.write_bytes(storage.join(out, REPORT), report.encode())
    storage.write_bytes(storage.join(out, INDEX), index.encode())
    storage.delete_below(building)
