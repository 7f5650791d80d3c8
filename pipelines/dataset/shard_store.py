"""Whole shards in memory, fetched ahead of their use: from a path or S3, through an optional cache on disk.

Every shard's SHA-256 is compared with the index; one from S3 that differs is fetched again before it is refused. The
cache belongs to the machine that reads, so two environment variables set it: DIGAN_CACHE (a folder) and DIGAN_CACHE_GB
(its limit, by default 10); the least recently used shards are removed first.
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
from pipelines.dataset.shard_index import Shard, ShardIndex
from pipelines.dataset.shard_reader import InvalidShardError, ShardSample, samples_of
from pipelines.storage import file_io

TRANSFERS = 4  # shards that are fetched from S3 at once
FETCHES = 3  # attempts at a shard whose SHA-256 differs
CACHE_GB = 10.0


def read_shard(address: str | Path, shard: Shard) -> tuple[ShardSample, ...]:
    """All samples of one tar, checked against the index; ``UserError`` where it is missing, altered, or has members
    that a shard never has.
    """
    data = _fetched(str(address), shard)
    try:
        found = samples_of(data)
    except InvalidShardError as error:
        raise UserError(f"{address}: {error}; do not trust it, make the shards again") from error
    if len(found) != len(shard.windows):
        raise UserError(f"{address}: holds {len(found)} samples, not {len(shard.windows)}; make the shards again")
    return found


class ShardStore:
    """The shards in use and those needed next, each fetched once by background threads; all others are dropped."""

    def __init__(self, index: ShardIndex) -> None:
        self._index = index
        self._kept: dict[str, Future[tuple[ShardSample, ...]]] = {}
        threads = TRANSFERS if file_io.is_remote(index.address) else 1
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="shards")
        weakref.finalize(self, self._threads.shutdown, wait=False, cancel_futures=True)

    def want(self, present: Sequence[Shard], coming: Sequence[Shard] = ()) -> None:
        """Begin to fetch what is missing, and drop everything else."""
        wanted = {shard.path: shard for shard in (*present, *coming)}
        for path in [path for path in self._kept if path not in wanted]:
            self._kept.pop(path).cancel()
        for path, shard in wanted.items():
            if path not in self._kept:
                address = file_io.join(self._index.address, path)
                self._kept[path] = self._threads.submit(read_shard, address, shard)

    def sample(self, window: Window) -> ShardSample:
        """The stored segment that a window of a wanted shard is in; waits until the shard is there."""
        return self._kept[window.shard.path].result()[window.sample]


def _fetched(address: str, shard: Shard) -> bytes:
    remote = file_io.is_remote(address)
    cache = _cache() if remote else None
    kept = cache[0] / f"{shard.sha256}.tar" if cache else None
    if kept is not None and (data := _kept(kept, shard)) is not None:
        return data
    for _ in range(FETCHES if remote else 1):
        try:
            data = file_io.read_bytes(address)
        except FileNotFoundError as error:
            raise UserError(
                f"{address}: shard is missing; make the shards again, with python -m pipelines.ingest"
            ) from error
        if hashlib.sha256(data).hexdigest() == shard.sha256:
            if cache is not None and kept is not None:
                file_io.write_bytes(kept, data)
                _bound(*cache)
            return data
    raise UserError(f"{address}: is not the shard that the index names (SHA-256 differs); make the shards again")


def _cache() -> tuple[Path, int] | None:
    """The cache's folder and its limit in bytes; ``None`` without DIGAN_CACHE."""
    folder, size = os.environ.get("DIGAN_CACHE", ""), os.environ.get("DIGAN_CACHE_GB", "")
    if not folder:
        return None
    try:
        bound = float(size or CACHE_GB)
    except ValueError:
        raise UserError(f"DIGAN_CACHE_GB={size}: must be a number of gigabytes; try 10") from None
    return Path(folder).expanduser(), int(bound * 1e9)


def _kept(path: Path, shard: Shard) -> bytes | None:
    """The cached shard, unless it has been altered since."""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == shard.sha256:
            os.utime(path)
            return data
        path.unlink(missing_ok=True)
    return None


def _bound(folder: Path, limit: int) -> None:
    """Remove the least recently used until the rest keeps the limit; other readers may do the same at once."""
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
