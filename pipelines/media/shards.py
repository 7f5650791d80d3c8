"""Reading: training pairs and clips out of shards, from a folder or S3, without ever needing the whole set on disk.

A shard is a standard WebDataset tar; a sample in it is a segment of a video (digan/data/clips.py): ``KEY.0000.png``,
``KEY.0001.png``, ... and ``KEY.json``, so a training pair decodes two pictures. The index (shard_index.py) says how
many windows (clips) begin in each sample, order.py which window is read when, shard_store.py fetches, tars.py takes
apart, shard_writer.py writes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from digan.data import pairs
from digan.errors import UserError
from digan.types import Clip, FramePair
from pipelines.media import pictures, storage
from pipelines.media.order import Window, WindowOrder
from pipelines.media.shard_index import INDEX, Shard, ShardIndex, read_index
from pipelines.media.shard_store import ShardStore, read_shard
from pipelines.media.shard_writer import ShardsConfig
from pipelines.media.tars import Sample

__all__ = [
    "PairReader",
    "Shard",
    "ShardIndex",
    "ShardsConfig",
    "clips_at",
    "read",
    "read_clips",
    "read_index",
    "read_shard",
    "windows_by_video",
]

BUFFER_BYTES = 256 * 2**20  # encoded pictures that a reader keeps in memory: half in use, half on the way
GATHERED = 512  # clips that read_clips gathers at once


def _shards_of(index: ShardIndex, split: str) -> tuple[Shard, ...]:
    shards = index.splits.get(split, ())
    if not shards:
        raise UserError(f"{storage.join(index.address, INDEX)}: no clips in split {split!r}")
    return shards


class PairReader:
    """Endless batches of training pairs for one rank; batch k depends on (shards, split, seed, world, rank, workers,
    worker, buffer, k) alone.

    ``batch_size`` is this rank's. In an epoch every clip comes once, over all workers of all ranks together, and every
    batch is full. Starting at ``start_batch`` reads no more than starting at 0. ``workers`` processes of one rank may
    share its reading, ``worker`` = 0, 1, ... being this one. Clips are shuffled within ``buffer_bytes`` / 2 of encoded
    pictures. Labels come where ``labelled``.
    """

    def __init__(
        self,
        index_folder: Path | str,
        *,
        split: str = "train",
        rank: int,
        world: int,
        seed: int,
        batch_size: int,
        worker: int = 0,
        workers: int = 1,
        start_batch: int = 0,
        mirror: bool = False,
        labelled: bool = False,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        assert 0 <= worker < workers, (worker, workers)
        self.index = read_index(index_folder)
        if labelled and not self.index.classes:
            raise UserError(
                f"{storage.join(self.index.address, INDEX)}: the shards have no classes; set source.classes=true,"
                " ingest again"
            )
        self.rank, self.world, self.seed, self.batch_size = rank * workers + worker, world * workers, seed, batch_size
        self.mirror, self.labelled = mirror, labelled
        self.batch = start_batch
        self._order = WindowOrder(
            _shards_of(self.index, split), rank=self.rank, world=self.world, seed=seed, group_bytes=buffer_bytes // 2
        )
        self._store = ShardStore(self.index)
        self._present: tuple[Shard, ...] = ()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pairs")
        self._second = ThreadPoolExecutor(1, thread_name_prefix="pictures")  # decodes half of a batch
        self._ahead: Future[tuple[np.ndarray, pairs.PairDraw, list[int]]] | None = None
        for thread in (self._thread, self._second):
            weakref.finalize(self, thread.shutdown, wait=False, cancel_futures=True)

    def __iter__(self) -> Iterator[FramePair]:
        return self

    def __next__(self) -> FramePair:
        decoded, draw, labels = (self._ahead or self._thread.submit(self._decoded, self.batch)).result()
        self.batch += 1
        self._ahead = self._thread.submit(self._decoded, self.batch)  # while this batch is learned from
        return pairs.make_pair(decoded, draw, self.index.frames, labels if self.labelled else None)

    def _decoded(self, batch: int) -> tuple[np.ndarray, pairs.PairDraw, list[int]]:
        """The pictures of a batch, uint8 [B, 2, R, R, 3], what was drawn for it, and its labels if they are asked for."""
        size, frames = self.batch_size, self.index.frames
        clips_seen = batch * size * self.world
        draw = pairs.draw_pairs(size, frames, seed=self.seed, rank=self.rank, clips_seen=clips_seen, mirror=self.mirror)
        decoded = np.empty((size, 2, self.index.resolution, self.index.resolution, 3), np.uint8)
        labels: list[int] = []
        wanted: list[tuple[Window, Sample, list[int], np.ndarray]] = []
        for k, numbers in enumerate(draw.numbers.tolist()):
            window = self._order.window(batch * size + k)
            if (present := self._order.present()) is not self._present:
                self._present = present
                self._store.want(present, self._order.coming())
            sample = self._store.sample(window)
            wanted.append((window, sample, numbers, decoded[k]))
            if self.labelled:
                labels.append(sample.meta["label"])
        other = self._second.submit(self._decode, wanted[: size // 2])  # the decoder lets other threads run
        self._decode(wanted[size // 2 :])
        other.result()
        return decoded, draw, labels

    def _decode(self, wanted: list[tuple[Window, Sample, list[int], np.ndarray]]) -> None:
        for window, sample, numbers, targets in wanted:
            try:
                for number, target in zip(numbers, targets, strict=True):
                    pictures.decode_into(sample.picture(window.start + number), target)
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"{storage.join(self.index.address, window.shard.path)}: sample {window.sample}: {error};"
                    " make the shards again"
                ) from error


def read(
    index: Path | str, *, rank: int, world: int, seed: int, batch_size: int, worker: int = 0, **options: Any
) -> PairReader:
    """An endless stream of ``FramePair`` for one worker of one rank; see ``PairReader``."""
    return PairReader(index, rank=rank, world=world, seed=seed, batch_size=batch_size, worker=worker, **options)


def read_clips(index_folder: Path | str, *, split: str, count: int, seed: int, start: int = 0) -> Iterator[Clip]:
    """``count`` clips of the split in random order, uniform over all its windows, none twice before all have come once.

    Deterministic; from number ``start`` of that order on. Memory: the encoded pictures of ``GATHERED`` clips and two
    shards.
    """
    index = read_index(index_folder)
    order = WindowOrder(_shards_of(index, split), rank=0, world=1, seed=seed, group_bytes=2**62)
    yield from clips_at(index, (order.window(draw) for draw in range(start, start + count)))


def windows_by_video(index: ShardIndex, split: str) -> dict[str, list[Window]]:
    """Every clip of the split, under its video's name; reads all shards once, decoding nothing."""
    found: dict[str, list[Window]] = {}
    for shard in _shards_of(index, split):
        for number, sample in enumerate(read_shard(storage.join(index.address, shard.path), shard)):
            windows = [Window(shard, number, start) for start in range(shard.windows[number])]
            found.setdefault(str(sample.meta["name"]), []).extend(windows)
    return found


def clips_at(index: ShardIndex, windows: Iterable[Window]) -> Iterator[Clip]:
    """The clips of these windows, in their order."""
    waiting = iter(windows)
    while wanted := list(islice(waiting, GATHERED)):
        store = ShardStore(index)  # two shards at a time: they are visited in their order
        by_shard: dict[str, list[int]] = {}
        for place, window in enumerate(wanted):
            by_shard.setdefault(window.shard.path, []).append(place)
        visited = [wanted[by_shard[path][0]].shard for path in sorted(by_shard)]
        gathered: dict[int, tuple[list[bytes], dict[str, Any]]] = {}
        for number, shard in enumerate(visited):
            store.want([shard], visited[number + 1 : number + 2])
            for place in by_shard[shard.path]:
                window = wanted[place]
                sample = store.sample(window)
                encoded = [sample.picture(window.start + frame) for frame in range(index.frames)]
                gathered[place] = (encoded, sample.meta)
        for place, window in enumerate(wanted):
            encoded, meta = gathered.pop(place)
            frames = torch.from_numpy(pictures.stack(encoded, index.resolution)).permute(0, 3, 1, 2).contiguous()
            yield Clip(frames=frames, label=meta["label"], name=f"{meta['name']}@{meta['frame_numbers'][window.start]}")
