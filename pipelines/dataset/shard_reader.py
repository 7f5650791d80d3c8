"""Read whole shards from a path or S3, through an optional cache on disk, into samples; prefetch them in the background.

Every shard's SHA-256 is compared with the index; a shard from S3 that differs is fetched again before it is rejected. Two
environment variables of the reading machine configure the cache: DIGAN_CACHE (a folder) and DIGAN_CACHE_GB (its limit, 10
by default). The least recently used shards are evicted first.

Shards are standard tars that any WebDataset reader accepts. The parser is our own because exact resume and decoding of
only two frames per clip need the position of every picture, and because webdataset takes twice as long without a checksum
as this does with one (measured by ``python -m benchmarks.reading --parse``). Nothing is unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from digan.errors import UserError
from pipelines.dataset.sampler import Window
from pipelines.dataset.shard_index import AGAIN, Shard, ShardIndex
from pipelines.storage import file_io

PARALLEL_FETCHES = 4  # from S3
FETCH_ATTEMPTS = 3  # for a shard whose SHA-256 differs
CACHE_GB = 10.0
BLOCK = 512
MEMBER = re.compile(rb"([A-Za-z0-9_-]+)\.(?:(\d{4,9})\.(?:png|jpg|webp)|(json))")
TYPES = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
    b"L": "a GNU long name", b"K": "a GNU long link", b"x": "a pax header", b"g": "a global pax header",
    b"S": "a sparse file",
}  # fmt: skip


class InvalidShardError(ValueError):
    """Why bytes are not a shard of this project; the text names the member."""


@dataclass(frozen=True)
class ShardSample:
    """A stored segment: the spans of its encoded pictures and of its JSON in the shard's bytes."""

    data: bytes
    spans: tuple[tuple[int, int], ...]
    json_span: tuple[int, int]

    def picture(self, frame: int) -> bytes:
        return self.data[slice(*self.spans[frame])]

    @property
    def meta(self) -> dict[str, Any]:
        found = json.loads(self.data[slice(*self.json_span)])
        if not isinstance(found, dict):
            raise InvalidShardError("a sample's JSON is not an object")
        return found


def read_shard(address: str | Path, shard: Shard) -> tuple[ShardSample, ...]:
    """All samples of one tar, checked against the index; ``UserError`` if it is missing, altered or invalid."""
    data = _fetch(str(address), shard)
    try:
        found = samples_of(data)
    except InvalidShardError as error:
        raise UserError(f"{address}: {error}; do not trust it, {AGAIN}") from error
    if len(found) != len(shard.windows):
        raise UserError(f"{address}: has {len(found)} samples, not {len(shard.windows)}; {AGAIN}")
    return found


class ShardStore:
    """The shards in use and the next ones, each fetched once by background threads; all others are dropped."""

    def __init__(self, index: ShardIndex) -> None:
        self._index = index
        self._shards: dict[str, Future[tuple[ShardSample, ...]]] = {}
        threads = PARALLEL_FETCHES if file_io.is_remote(index.address) else 1
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="shards")
        weakref.finalize(self, self._threads.shutdown, wait=False, cancel_futures=True)

    def prefetch(self, shards: Sequence[Shard]) -> None:
        """Start to fetch what is missing, in this order, and drop all other shards."""
        wanted = {shard.path: shard for shard in shards}
        for path in self._shards.keys() - wanted.keys():
            self._shards.pop(path).cancel()
        for path in (path for path in wanted if path not in self._shards):
            address = file_io.join(self._index.address, path)
            self._shards[path] = self._threads.submit(read_shard, address, wanted[path])

    def sample(self, window: Window) -> ShardSample:
        """The stored segment of a window, whose shard was given to ``prefetch``; waits until the shard is loaded."""
        return self._shards[window.shard.path].result()[window.sample_index]


def _fetch(address: str, shard: Shard) -> bytes:
    remote = file_io.is_remote(address)
    folder, limit = _cache() if remote else (None, 0)
    if folder and (cached := _read_cached(folder / f"{shard.sha256}.tar", shard.sha256)) is not None:
        return cached
    for _ in range(FETCH_ATTEMPTS if remote else 1):
        try:
            data = file_io.read_bytes(address)
        except FileNotFoundError as error:
            raise UserError(f"{address}: shard is missing; {AGAIN}, with python -m pipelines.ingest") from error
        if hashlib.sha256(data).hexdigest() == shard.sha256:
            if folder:
                file_io.write_bytes(folder / f"{shard.sha256}.tar", data)
                _evict(folder, limit)
            return data
    raise UserError(f"{address}: is not the shard that the index names (SHA-256 differs); {AGAIN}")


def _cache() -> tuple[Path | None, int]:
    """The cache's folder, if there is one, and its limit in bytes."""
    folder, size = os.environ.get("DIGAN_CACHE"), os.environ.get("DIGAN_CACHE_GB")
    if not folder:
        return None, 0
    place = file_io.local(folder)
    try:
        return place, int(float(size or CACHE_GB) * 1e9)
    except ValueError:
        raise UserError(f"DIGAN_CACHE_GB={size}: must be a number of gigabytes; try 10") from None


def _read_cached(path: Path, sha256: str) -> bytes | None:
    """The cached shard, unless it is missing or altered."""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256:
            os.utime(path)
            return data
        path.unlink(missing_ok=True)
    return None


def _evict(folder: Path, limit: int) -> None:
    """Delete the least recently used shards above the limit; other readers may do the same at once."""
    found = []
    for path in folder.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, path))
    excess = sum(size for _, size, _ in found) - limit
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


class _Member(NamedTuple):
    """A member of a tar: its name, its sample's key, its frame's number (``None``: the JSON) and its span in the bytes."""

    name: bytes
    key: bytes
    frame: int | None
    span: tuple[int, int]


def samples_of(data: bytes) -> tuple[ShardSample, ...]:
    """The samples of a tar, in order. ``InvalidShardError`` if the tar is cut off or a member is not a plain file, has an
    unexpected name or is repeated.
    """
    found: dict[bytes, ShardSample] = {}
    for key, members in groupby(_members(data), key=lambda member: member.key):
        found[key] = _sample(data, list(members), known=key in found)
    return tuple(found.values())


def _sample(data: bytes, members: list[_Member], *, known: bool) -> ShardSample:
    if known:
        raise InvalidShardError(f"{_quoted(members[0].name)}: its sample occurs twice")
    spans: list[tuple[int, int]] = []
    json_spans: list[tuple[int, int]] = []
    for name, _, frame, span in members:
        if frame is None and json_spans:
            raise InvalidShardError(f"{_quoted(name)} occurs twice")
        if frame is not None and frame != len(spans):
            raise InvalidShardError(f"{_quoted(name)} occurs twice or out of order; frame {len(spans)} was expected")
        (json_spans if frame is None else spans).append(span)
    if not json_spans or not spans:
        key = _quoted(members[0].key, "sample")
        raise InvalidShardError(f"{key} has no {'pictures' if json_spans else 'JSON'}")
    return ShardSample(data, tuple(spans), json_spans[0])


def _members(data: bytes) -> Iterator[_Member]:
    start = 0
    while True:
        header = data[start : start + BLOCK]
        if len(header) < BLOCK:
            raise InvalidShardError("the tar ends without its end mark")
        if header[0] == 0:
            if header.count(0) == BLOCK:
                return
            raise InvalidShardError(f"the header at byte {start} has no name")
        name, kind = header[:100].rstrip(b"\0"), header[156:157]
        try:
            size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError as error:
            raise InvalidShardError(f"{_quoted(name)} has a size that is not a number") from error
        first, end = start + BLOCK, start + BLOCK + size
        if header[257:262] != b"ustar" or header[345] != 0:
            raise InvalidShardError(f"{_quoted(name)} has no plain ustar header")
        if size < 0 or end > len(data):
            raise InvalidShardError(f"{_quoted(name)} is longer than the tar")
        if kind not in (b"0", b"\0"):
            what = TYPES.get(kind, f"of unknown type {kind!r}")
            raise InvalidShardError(f"{_quoted(name)} is {what}; only plain files are read")
        if (match := MEMBER.fullmatch(name)) is None:
            raise InvalidShardError(f"{_quoted(name)} has an unexpected name; expected names like KEY.0000.png")
        yield _Member(name, match[1], None if match[3] else int(match[2]), (first, end))
        start = first + -(-size // BLOCK) * BLOCK


def _quoted(name: bytes, what: str = "member") -> str:
    return f"{what} {name[:100].decode('utf-8', 'replace')!r}"
