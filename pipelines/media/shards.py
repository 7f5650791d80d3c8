"""Shards: standard WebDataset tars of segments, and training pairs and clips out of them.

A sample is a segment of a video (digan/data/clips.py): ``KEY.0000.png``, ``KEY.0001.png``, ... and ``KEY.json``, so a
training pair decodes two pictures. The index (shard_index.py) says how many windows (clips) begin in each sample,
order.py which window is read when, shard_writer.py writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from digan.data import pairs
from digan.errors import UserError
from digan.types import Clip, FramePair
from pipelines.media import pictures
from pipelines.media.order import Window, WindowOrder
from pipelines.media.shard_index import INDEX, Shard, ShardIndex, read_index
from pipelines.media.shard_writer import ShardsConfig

__all__ = [
    "PairReader",
    "Shard",
    "ShardIndex",
    "ShardsConfig",
    "clips_at",
    "read_clips",
    "read_index",
    "read_shard",
    "windows_by_video",
]

BUFFER_BYTES = 256 * 2**20  # encoded pictures that a reader keeps in memory
GATHERED = 512  # clips that read_clips gathers at once


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A segment as it lies in a shard: encoded pictures in order and what the JSON says."""

    pictures: tuple[bytes, ...]
    meta: dict[str, Any]


def read_shard(path: Path, shard: Shard) -> tuple[Sample, ...]:
    """All samples of one tar, checked against the index; ``UserError`` where it is missing, altered, or has members
    that point outside.
    """
    from webdataset import tariterators

    if not path.is_file():
        raise UserError(f"{path}: shard is missing; make the shards again, with python -m pipelines.ingest")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise UserError(f"{path}: is not the shard that the index names (SHA-256 differs); make the shards again")
    # The stream is opened here, so that no address (such as pipe:) ever reaches webdataset's own opener.
    source = [{"url": str(path), "stream": io.BytesIO(data)}]
    members = tariterators.tar_file_expander(source, select_files=_inside)
    try:
        found = [_sample(grouped) for grouped in tariterators.group_by_keys(members)]
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: not a shard of ours ({error}); make the shards again") from error
    if len(found) != len(shard.windows):
        raise UserError(f"{path}: holds {len(found)} samples, not {len(shard.windows)}; make the shards again")
    return tuple(found)


def _sample(grouped: dict[str, Any]) -> Sample:
    names = sorted(name for name in grouped if re.fullmatch(r"\d+\.(png|jpg)", name))
    return Sample(pictures=tuple(grouped[name] for name in names), meta=json.loads(grouped["json"]))


def _inside(name: str) -> bool:
    if name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"shard member {name!r} is refused: it points out of its folder")
    return True


class ShardStore:
    """Whole shards in memory, the least lately used given up first, ``limit`` bytes in all (at least one shard)."""

    def __init__(self, index: ShardIndex, limit: int = BUFFER_BYTES) -> None:
        self._index, self._limit = index, limit
        self._kept: OrderedDict[str, tuple[int, tuple[Sample, ...]]] = OrderedDict()
        self._bytes = 0

    def sample(self, window: Window) -> Sample:
        """The stored segment that a window lies in."""
        shard = window.shard
        if shard.path not in self._kept:
            while self._kept and self._bytes + shard.bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1][0]
            self._kept[shard.path] = (shard.bytes, read_shard(self._index.folder / shard.path, shard))
            self._bytes += shard.bytes
        self._kept.move_to_end(shard.path)
        return self._kept[shard.path][1][window.sample]


def _shards_of(index: ShardIndex, split: str) -> tuple[Shard, ...]:
    shards = index.splits.get(split, ())
    if not shards:
        raise UserError(f"{index.folder / INDEX}: no clips in split {split!r}")
    return shards


class PairReader:
    """Endless batches of training pairs for one rank; batch k depends on (shards, split, seed, world, rank, k) alone.

    ``batch_size`` is this rank's. Starting at ``start_batch`` reads no more than starting at 0. Labels come where
    ``labelled``.
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
        start_batch: int = 0,
        mirror: bool = False,
        labelled: bool = False,
    ) -> None:
        self.index = read_index(index_folder)
        if labelled and not self.index.classes:
            raise UserError(
                f"{self.index.folder / INDEX}: the shards have no classes; set source.classes=true, ingest again"
            )
        self.rank, self.world, self.seed, self.batch_size = rank, world, seed, batch_size
        self.mirror, self.labelled = mirror, labelled
        self.batch = start_batch
        shards = _shards_of(self.index, split)
        self._order = WindowOrder(shards, rank=rank, world=world, seed=seed, group_bytes=BUFFER_BYTES)
        self._store = ShardStore(self.index)

    def __iter__(self) -> Iterator[FramePair]:
        return self

    def __next__(self) -> FramePair:
        size, frames = self.batch_size, self.index.frames
        clips_seen = self.batch * size * self.world
        draw = pairs.draw_pairs(size, frames, seed=self.seed, rank=self.rank, clips_seen=clips_seen, mirror=self.mirror)
        encoded: list[bytes] = []
        labels: list[int] = []
        for k, numbers in enumerate(draw.numbers.tolist()):
            window = self._order.window(self.batch * size + k)
            sample = self._store.sample(window)
            encoded += [sample.pictures[window.start + number] for number in numbers]
            if self.labelled:
                labels.append(sample.meta["label"])
        self.batch += 1
        stacked = pictures.stack(encoded)
        frames_bthwc = stacked.reshape(size, 2, *stacked.shape[1:])
        return pairs.make_pair(frames_bthwc, draw, frames, labels if self.labelled else None)


def read_clips(index_folder: Path | str, *, split: str, count: int, seed: int, start: int = 0) -> Iterator[Clip]:
    """``count`` clips of the split in random order, uniform over all its windows, none twice before all have come once.

    Deterministic; from number ``start`` of that order on. Memory: the encoded pictures of ``GATHERED`` clips and one
    shard.
    """
    index = read_index(index_folder)
    order = WindowOrder(_shards_of(index, split), rank=0, world=1, seed=seed, group_bytes=2**62)
    yield from clips_at(index, (order.window(draw) for draw in range(start, start + count)))


def windows_by_video(index: ShardIndex, split: str) -> dict[str, list[Window]]:
    """Every clip of the split, under its video's name; reads all shards once, decoding nothing."""
    found: dict[str, list[Window]] = {}
    for shard in _shards_of(index, split):
        for number, sample in enumerate(read_shard(index.folder / shard.path, shard)):
            windows = [Window(shard, number, start) for start in range(shard.windows[number])]
            found.setdefault(str(sample.meta["name"]), []).extend(windows)
    return found


def clips_at(index: ShardIndex, windows: Iterable[Window]) -> Iterator[Clip]:
    """The clips of these windows, in their order."""
    waiting = iter(windows)
    while wanted := list(islice(waiting, GATHERED)):
        store = ShardStore(index, limit=0)  # one shard at a time: they are visited in their order
        gathered: dict[int, tuple[tuple[bytes, ...], dict[str, Any]]] = {}
        for place in sorted(range(len(wanted)), key=lambda place: wanted[place].shard.path):
            window = wanted[place]
            sample = store.sample(window)
            gathered[place] = (sample.pictures[window.start : window.start + index.frames], sample.meta)
        for place, window in enumerate(wanted):
            encoded, meta = gathered[place]
            frames = torch.from_numpy(pictures.stack(encoded)).permute(0, 3, 1, 2).contiguous()
            yield Clip(frames=frames, label=meta["label"], name=f"{meta['name']}@{meta['frame_numbers'][window.start]}")
