"""Segments to tars through webdataset. Equal input gives equal bytes; a shard appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from digan.errors import UserError
from pipelines.dataset.shard_index import Shard
from pipelines.storage import file_io
from pipelines.video import image_codec
from pipelines.video.transcode import EncodedSegment

REPORT = "ingest_report.json"
SHARDS_PER_TASK = 1000  # at most; shard 7 of task 12 is named 00012007.tar
SECOND_NAME = 10**9  # added to that number if a published shard with other content has the name


@dataclass(frozen=True, kw_only=True)
class ShardsConfig:
    """The section ``shards`` of params.yaml."""

    address: str
    encoding: str
    jpeg_quality: int
    megabytes: float

    def __post_init__(self) -> None:
        if self.address and not file_io.is_remote(self.address):
            raise UserError(f'shards.address={self.address}: must be s3://bucket/prefix, or "" for outputs/shards')
        if self.encoding not in image_codec.SUFFIX:
            raise UserError(f"shards.encoding={self.encoding}: must be one of {', '.join(image_codec.SUFFIX)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise UserError(f"shards.jpeg_quality={self.jpeg_quality}: must be from 1 to 100; try 95")
        if not 0.05 <= self.megabytes <= 4_000:
            raise UserError(f"shards.megabytes={self.megabytes}: must be from 0.05 to 4000; try 100")


@dataclass
class IngestWriter:
    """Writes the shards of one ingest task below ``address``, each of at most ``limit`` bytes or one segment.

    ``published`` has path and SHA-256 of the shards of the older set; they are never overwritten by other content.
    Memory: one shard.
    """

    address: str
    split: str
    task_number: int
    suffix: str
    limit: int
    published: Mapping[str, str] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)
    _stream: io.BytesIO = field(default_factory=io.BytesIO)
    _writer: Any = None  # webdataset's; None: the current shard is empty
    _windows: list[int] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _size: int = 0

    def add(self, meta: dict[str, Any], segment: EncodedSegment, *, number: int, clip_frames: int) -> None:
        """Append a segment as a sample; if the current shard would get too large, write it first."""
        members = {f"{k:04d}.{self.suffix}": data for k, data in enumerate(segment.pictures)}
        members["json"] = json.dumps({**meta, "frame_numbers": segment.numbers}, sort_keys=True).encode()
        size = sum(512 + -(-len(data) // 512) * 512 for data in members.values())
        if self._writer and self._size + size + 10240 > self.limit:
            self.close_shard()
        if self._writer is None:
            self._stream = io.BytesIO()
            self._writer = tar_writer(self._stream)
        self._writer.write({"__key__": sample_key(meta["name"], number), **members})
        self._size += size
        self._names.add(meta["name"])
        self._windows.append(len(segment.numbers) - clip_frames + 1)

    def close_shard(self) -> None:
        """Write the current shard, unless it is empty."""
        if self._writer is None:
            return
        if len(self.shards) >= SHARDS_PER_TASK:
            raise UserError(f"shards.megabytes: a video fills more than {SHARDS_PER_TASK} shards; make them larger")
        self._writer.close()
        data = self._stream.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        windows, videos = tuple(self._windows), len(self._names)
        shard = Shard(path=self._free_path(sha256), bytes=len(data), sha256=sha256, videos=videos, windows=windows)
        file_io.write_bytes(file_io.join(self.address, shard.path), data)
        self.shards.append(shard)
        self._writer, self._windows, self._names, self._size = None, [], set(), 0

    def _free_path(self, sha256: str) -> str:
        """The next path, or the second one if a published shard has the first; equal content keeps its path."""
        number = self.task_number * SHARDS_PER_TASK + len(self.shards)
        paths = [f"{self.split}/{number + offset:08d}.tar" for offset in (0, SECOND_NAME)]
        return min(paths, key=lambda path: (self.published.get(path) != sha256, path in self.published))


def tar_writer(stream: BinaryIO) -> Any:
    """webdataset's writer, set up so that the bytes depend only on the samples."""
    from webdataset import TarWriter

    return TarWriter(stream, encoder=False, mtime=0, user="root", group="root", compress=False)


def task_of(path: str) -> tuple[str, int]:
    """The split and the number of the task that wrote the shard at ``path``."""
    split, _, name = path.partition("/")
    return split, int(name.removesuffix(".tar")) % SECOND_NAME // SHARDS_PER_TASK


def sample_key(name: str, number: int) -> str:
    """The key of a segment: a readable part of its video's name, a hash of the name, the segment's number."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name.rsplit(".", 1)[0]).strip("_")[-48:]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:10]}-{number:04d}"
