"""What an ingest leaves at its address: a record for each finished chunk, then the index, which makes the set visible.

Shards are written once, under their final names, beside an older set if there is one. A chunk's record follows its
shards, so an interrupted ingest continues after the last record. The index replaces the older one in a single write;
only then the older set's shards are deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digan import atomic
from digan.errors import UserError
from pipelines.dataset.shard_index import INDEX, Shard, ShardIndex, index_to_json, read_index
from pipelines.dataset.shard_writer import REPORT
from pipelines.storage import file_io
from pipelines.video.transcode import ChannelStatistics

RECORDS = ".building"


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """A finished chunk: its shards, a record of each of its videos, the levels of its frames."""

    shards: tuple[Shard, ...]
    records: tuple[dict[str, Any], ...]
    levels: ChannelStatistics


def record_address(address: str, split: str, chunk: int) -> str:
    """Where the record of a chunk is."""
    return file_io.join(address, RECORDS, f"{split}-{chunk:05d}.json")


def write_record(record: str, fingerprint: str, done: IngestResult) -> None:
    """Mark a chunk as finished, after its shards are written."""
    file_io.write_bytes(record, json.dumps({"fingerprint": fingerprint, **asdict(done)}).encode())


def restored(address: str, record: str, fingerprint: str, in_use: dict[str, str]) -> IngestResult | None:
    """The chunk, if an earlier ingest with equal input finished it and its shards are still there.

    Local shards are compared with their SHA-256: after a power cut a disk may lack what was written. On S3 the size is
    compared.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(file_io.read_bytes(record))
        if content["fingerprint"] != fingerprint:
            return None
        shards = tuple(Shard(**{**shard, "windows": tuple(shard["windows"])}) for shard in content["shards"])
        if not all(in_use.get(s.path, s.sha256) == s.sha256 and _is_whole(address, s) for s in shards):
            return None
        kept = content["levels"]
        levels = ChannelStatistics(values=kept["values"], sums=tuple(kept["sums"]), squares=tuple(kept["squares"]))
        return IngestResult(shards=shards, records=tuple(content["records"]), levels=levels)
    return None


def _is_whole(address: str, shard: Shard) -> bool:
    path = file_io.join(address, shard.path)
    if file_io.is_remote(path):
        return file_io.size(path) == shard.bytes
    with file_io.open_read(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == shard.sha256  # type: ignore[arg-type]


def shards_in_use(address: str) -> dict[str, str]:
    """Path and SHA-256 of the shards of the finished set at the address; empty where there is none."""
    if not file_io.exists(file_io.join(address, INDEX)):
        return {}
    try:
        index = read_index(address)
    except UserError:  # of another version, or damaged: nobody can read that set
        return {}
    if file_io.is_remote(index.address) and not file_io.is_remote(address):  # its shards are not here
        return {}
    return {shard.path: shard.sha256 for shards in index.splits.values() for shard in shards}


def publish(address: str, index: ShardIndex, report: str) -> None:
    """Make the finished set visible, then delete everything else of ingests."""
    file_io.write_bytes(file_io.join(address, REPORT), report.encode())
    file_io.write_bytes(file_io.join(address, INDEX), index_to_json(index).encode())
    delete_all_but(address, (shard.path for shards in index.splits.values() for shard in shards))


def delete_all_but(address: str, paths: Iterable[str]) -> None:
    """Delete every shard and record that an ingest left, except the shards at ``paths``."""
    kept = set(paths)
    names = file_io.list_names(address)
    for name in sorted(names, key=lambda name: name.startswith(RECORDS)):  # records last: until then a start resumes
        if name not in kept and re.fullmatch(rf"[a-z]+/\d{{6,}}\.tar|{re.escape(RECORDS)}/.+", name):
            file_io.delete(file_io.join(address, name))
    if not file_io.is_remote(address):
        for path in sorted(Path(address).rglob("*"), reverse=True):  # a folder after its content
            if atomic.is_part(path.name):  # of a killed process
                path.unlink()
            elif path.is_dir():
                with contextlib.suppress(OSError):  # not empty
                    path.rmdir()
