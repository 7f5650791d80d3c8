"""Whole shards in memory, prefetched from a path or S3 through an optional cache on disk.

Every shard's SHA-256 is compared with the index; a shard from S3 that differs is fetched again before it is rejected. Two
environment variables of the reading machine configure the cache: DIGAN_CACHE (a folder) and DIGAN_CACHE_GB (its limit, 10
by default). The least recently used shards are evicted first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from digan.errors import UserError
from pipelines.dataset.sampler import Window
from pipelines.dataset.shard_index import AGAIN, Shard, ShardIndex
from pipelines.dataset.shard_reader import InvalidShardError, ShardSample, samples_of
from pipelines.storage import file_io

PARALLEL_FETCHES = 4  # from S3
FETCH_ATTEMPTS = 3  # for a shard whose SHA-256 differs
CACHE_GB = 10.0


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
    try:
        return (Path(folder).expanduser(), int(float(size or CACHE_GB) * 1e9)) if folder else (None, 0)
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
