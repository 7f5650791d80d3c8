"""Training pairs and clips from shards in a folder or on S3, without the whole set on disk or in memory.

A sample of a shard is a segment of a video: ``KEY.0000.png``, ``KEY.0001.png``, ... and ``KEY.json``, so a training pair
decodes two pictures. sampler.py computes which window is read when, shard_reader.py fetches and parses shards.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from digan.data import pairs
from digan.errors import UserError
from digan.training.background import Prefetcher
from digan.types import Clip, FramePair
from pipelines.dataset.sampler import ClipSampler, Window
from pipelines.dataset.shard_index import AGAIN, INDEX, Shard, ShardIndex, read_index
from pipelines.dataset.shard_reader import ShardStore, read_shard
from pipelines.storage import file_io
from pipelines.video import image_codec

BUFFER_BYTES = 256 * 2**20
CLIPS_AT_ONCE = 512  # clips that clips_at gathers before it yields them in order


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """What a ``PairLoader`` reads: batches of ``batch_size`` pairs from ``split``, with class labels if ``labeled``.

    A reader buffers ``buffer_bytes`` of encoded pictures: half in use and half prefetched. Clips are shuffled within the
    half in use, so a different size gives a different order.
    """

    split: str = "train"
    seed: int
    batch_size: int
    horizontal_flip: bool = False
    labeled: bool = False
    buffer_bytes: int = BUFFER_BYTES


class PairLoader:
    """Endless training batches of several readers from one shard store; each item has one ``FramePair`` per reader.

    ``num_readers`` readers divide the data. In training, a reader is a micro-batch, and a worker's loader serves the
    ``reader_indices`` of that worker. Batch k of a reader depends only on (shards, config, ``num_readers``, its index, k),
    so it is the same in any loader. In an epoch every clip occurs once over all readers together, and every batch is
    full. Starting at ``start_batch`` reads no more than starting at 0.

    Only shards are prefetched: iterate in a thread of its own (``Prefetcher``).
    """

    def __init__(
        self,
        index_folder: Path | str,
        config: LoaderConfig,
        *,
        reader_indices: Sequence[int],
        num_readers: int,
        start_batch: int = 0,
    ) -> None:
        self.index, self.config, self.batch = read_index(index_folder), config, start_batch
        if config.labeled and not self.index.classes:
            path = file_io.join(self.index.address, INDEX)
            raise UserError(f"{path}: the shards have no classes; set source.classes=true and ingest again")
        shards, block_bytes = _shards_of(self.index, config.split), config.buffer_bytes // 2
        sampler = partial(ClipSampler, shards, num_readers=num_readers, seed=config.seed, block_bytes=block_bytes)
        self._num_readers = num_readers
        self._samplers = {index: sampler(reader_index=index) for index in reader_indices}
        self._store = ShardStore(self.index)
        self._current: set[str] = set()
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="decode")  # the decoder releases the GIL
        weakref.finalize(self, self._helper.shutdown, wait=False, cancel_futures=True)

    def __iter__(self) -> Iterator[list[FramePair]]:
        return self

    def __next__(self) -> list[FramePair]:
        index, config, size = self.index, self.config, self.config.batch_size
        first = self.batch * size
        clips_seen, flip = first * self._num_readers, config.horizontal_flip
        draw_pairs = partial(pairs.draw_pairs, size, index.frames, seed=config.seed, clips_seen=clips_seen)
        draws = [draw_pairs(reader_index=reader_index, horizontal_flip=flip) for reader_index in self._samplers]
        windows = [each.window(draw) for each in self._samplers.values() for draw in range(first, first + size)]
        self._prefetch(windows)
        frame_numbers = [numbers for draw in draws for numbers in draw.frame_indices.tolist()]
        frames = np.empty((len(windows), 2, index.resolution, index.resolution, 3), np.uint8)
        half = len(windows) // 2
        other = self._helper.submit(self._decode, windows[:half], frame_numbers[:half], frames[:half])
        self._decode(windows[half:], frame_numbers[half:], frames[half:])
        other.result()
        labels = [self._store.sample(window).meta["label"] for window in windows] if config.labeled else None
        self.batch += 1
        return [
            pairs.make_pair(frames[start : start + size], draw, index.frames, labels and labels[start : start + size])
            for start, draw in zip(range(0, len(windows), size), draws, strict=True)
        ]

    def _prefetch(self, windows: list[Window]) -> None:
        """Keep the shards of this batch and of the readers' shuffle blocks, and prefetch those of the next blocks."""
        blocks = [shard for each in self._samplers.values() for shard in each.current_shards()]
        current = [window.shard for window in windows] + blocks
        if (paths := {shard.path for shard in current}) != self._current:
            self._current = paths
            upcoming = [shard for each in self._samplers.values() for shard in each.next_shards()]
            self._store.prefetch([*current, *upcoming])

    def _decode(self, windows: list[Window], frame_numbers: list[list[int]], frames_b2hwc: np.ndarray) -> None:
        for window, numbers, targets in zip(windows, frame_numbers, frames_b2hwc, strict=True):
            sample = self._store.sample(window)
            try:
                pictures = (sample.picture(window.first_frame + number) for number in numbers)
                targets[:] = image_codec.stack(pictures, self.index.resolution)
            except (ValueError, IndexError) as error:
                path = file_io.join(self.index.address, window.shard.path)
                raise UserError(f"{path}: sample {window.sample_index}: {error}; {AGAIN}") from error


def read(
    index_folder: Path | str, *, reader_index: int, num_readers: int, start_batch: int = 0, **config: Any
) -> Iterator[FramePair]:
    """Endless batches of one of ``num_readers`` readers, one batch prefetched; ``config`` as in ``LoaderConfig``."""
    options: dict[str, Any] = {"num_readers": num_readers, "start_batch": start_batch}
    loader = PairLoader(index_folder, LoaderConfig(**config), reader_indices=[reader_index], **options)

    def prefetched() -> Iterator[FramePair]:
        with Prefetcher(loader, depth=1) as batches:
            for (pair,) in batches:
                yield pair

    return prefetched()


def read_clips(index_folder: Path | str, *, split: str, count: int, seed: int, start: int = 0) -> Iterator[Clip]:
    """``count`` clips of the split from index ``start`` of a random order, uniform over all windows; none is repeated
    before all have occurred once. Memory: the encoded pictures of ``CLIPS_AT_ONCE`` clips and two shards.
    """
    index = read_index(index_folder)
    sampler = ClipSampler(_shards_of(index, split), reader_index=0, num_readers=1, seed=seed, block_bytes=2**62)
    yield from clips_at(index, (sampler.window(draw) for draw in range(start, start + count)))


def windows_by_video(index: ShardIndex, split: str) -> dict[str, list[Window]]:
    """All clips of the split by the name of their video; reads all shards once and decodes nothing."""
    found: dict[str, list[Window]] = {}
    for shard in _shards_of(index, split):
        for number, sample in enumerate(read_shard(file_io.join(index.address, shard.path), shard)):
            windows = [Window(shard, number, first) for first in range(shard.windows[number])]
            found.setdefault(str(sample.meta["name"]), []).extend(windows)
    return found


def clips_at(index: ShardIndex, windows: Iterable[Window]) -> Iterator[Clip]:
    """The clips of these windows, in order; shards are visited one after the other, the next one prefetched."""
    remaining = iter(windows)
    while wanted := list(islice(remaining, CLIPS_AT_ONCE)):
        store = ShardStore(index)
        shards = sorted({window.shard.path: window.shard for window in wanted}.values(), key=lambda shard: shard.path)
        gathered: dict[Window, tuple[list[bytes], dict[str, Any]]] = {}
        for number, shard in enumerate(shards):
            store.prefetch(shards[number : number + 2])
            for window in (window for window in wanted if window.shard.path == shard.path):
                sample, frames = store.sample(window), range(window.first_frame, window.first_frame + index.frames)
                gathered[window] = [sample.picture(frame) for frame in frames], sample.meta
        for window in wanted:
            encoded, meta = gathered[window]
            clip = torch.from_numpy(image_codec.stack(encoded, index.resolution)).permute(0, 3, 1, 2).contiguous()
            name = f"{meta['name']}@{meta['frame_numbers'][window.first_frame]}"
            yield Clip(frames=clip, label=meta["label"], name=name)


def _shards_of(index: ShardIndex, split: str) -> tuple[Shard, ...]:
    if shards := index.splits.get(split, ()):
        return shards
    raise UserError(f"{file_io.join(index.address, INDEX)}: no clips in split {split!r}")
