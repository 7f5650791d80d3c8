"""Which clip a reader gets at which draw: arithmetic over the counts in the index, without reading a shard.

Clips are shuffled by blocks: shards in random order, then the windows within a block of shards that fits the buffer.
Memory is one block of encoded frames, and each shard is read once an epoch (twice where two readers share it). The price:
clips whose shards are in different blocks never share a batch in that epoch, so a batch is no uniform draw from the
split; the smaller the buffer, the less so. Finding a window costs O(shards) at a new epoch, O(log) otherwise.

A window is a clip: n successive frames of a stored sample. An epoch is every window once, over all readers together.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, count

import torch

from digan.seeding import generator_for
from pipelines.dataset.shard_index import Shard


@dataclass(frozen=True)
class Window:
    """A clip's position: its shard, the index of the sample in the shard, the index of its first frame in the sample."""

    shard: Shard
    sample_index: int
    first_frame: int


@dataclass(frozen=True)
class _ShardSlice:
    """Successive windows of a shard: ``first_window`` to ``end_window``, exclusive."""

    shard: Shard
    first_window: int
    end_window: int

    @property
    def clips(self) -> int:
        return self.end_window - self.first_window


@dataclass(frozen=True)
class _EpochShare:
    """One reader's windows of an epoch: its shuffle blocks, and the number of windows up to the end of each."""

    epoch_index: int
    blocks: list[list[_ShardSlice]]
    block_ends: list[int]


@dataclass(frozen=True)
class _ShuffleBlock:
    """The block being read: its index in the share, its slices with the windows up to each end, the shuffled windows."""

    epoch_index: int
    block_index: int
    shards: tuple[Shard, ...]
    slices: list[_ShardSlice]
    slice_ends: list[int]
    permutation: list[int]


class ClipSampler:
    """The endless sequence of windows of one reader, epoch after epoch; equal arguments give the same sequence.

    All windows of an epoch, shard after shard in shuffled order, are cut into ``num_readers`` shares whose sizes differ
    by one window at most; readers that share a shard read different windows of it. Shares rotate, so after
    ``num_readers`` epochs all readers have read equally many. The shards of a shuffle block have at most
    ``block_bytes`` together (at least one shard).
    """

    def __init__(
        self, shards: tuple[Shard, ...], *, reader_index: int, num_readers: int, seed: int, block_bytes: int
    ) -> None:
        assert 0 <= reader_index < num_readers, (reader_index, num_readers)
        assert shards, "no shards"
        self._reader_index, self._num_readers, self._seed = reader_index, num_readers, seed
        self._shards, self._block_bytes = shards, block_bytes
        self.clips_per_epoch = sum(shard.clips for shard in shards)  # over all readers
        self._share: _EpochShare | None = None
        self._block: _ShuffleBlock | None = None
        self._sample_ends: dict[str, list[int]] = {}

    def window(self, draw_index: int) -> Window:
        """The window of this reader's draw 0, 1, 2, ...; fast when ``draw_index`` rises."""
        epoch_index, window_index = self._locate(draw_index)
        if self._share is None or self._share.epoch_index != epoch_index:
            self._share = self._share_of(epoch_index)
        block_index, window_index = _find(self._share.block_ends, window_index)
        if self._block is None or (self._block.epoch_index, self._block.block_index) != (epoch_index, block_index):
            self._block = self._shuffle(epoch_index, block_index, self._share.blocks[block_index])
        slice_index, offset = _find(self._block.slice_ends, self._block.permutation[window_index])
        found = self._block.slices[slice_index]
        return Window(found.shard, *_find(self._sample_ends[found.shard.path], offset + found.first_window))

    def current_shards(self) -> tuple[Shard, ...]:
        """Shards of the shuffle block that the last window came from."""
        return self._block.shards if self._block else ()

    def next_shards(self) -> tuple[Shard, ...]:
        """Shards of the next shuffle block, for prefetching."""
        if self._block is None or self._share is None:
            return ()
        blocks = self._share.blocks[self._block.block_index + 1 :]
        epochs = count(self._share.epoch_index + 1)
        while not blocks:  # with fewer windows than readers, a reader has none in some epochs
            blocks = self._share_of(next(epochs)).blocks
        return tuple(each.shard for each in blocks[0])

    def _bounds(self, epoch_index: int) -> tuple[int, int]:
        share = (self._reader_index + epoch_index) % self._num_readers
        return share * self.clips_per_epoch // self._num_readers, (
            share + 1
        ) * self.clips_per_epoch // self._num_readers

    def _locate(self, draw_index: int) -> tuple[int, int]:
        """The epoch of a draw, and its index among this reader's windows of that epoch."""
        rounds, window_index = divmod(draw_index, self.clips_per_epoch)  # a reader gets an epoch in ``num_readers``
        epoch_index = rounds * self._num_readers
        while True:
            low, high = self._bounds(epoch_index)
            if window_index < high - low:
                return epoch_index, window_index
            window_index -= high - low
            epoch_index += 1

    def _share_of(self, epoch_index: int) -> _EpochShare:
        low, high = self._bounds(epoch_index)
        blocks: list[list[_ShardSlice]] = []
        block_bytes = begin = 0
        generator = generator_for(self._seed, "shards", epoch_index)
        for shard_index in torch.randperm(len(self._shards), generator=generator).tolist():
            shard = self._shards[shard_index]
            own = _ShardSlice(shard, max(low - begin, 0), min(high - begin, shard.clips))
            begin += shard.clips
            if own.clips <= 0:
                continue
            if not blocks or block_bytes + shard.bytes > self._block_bytes:
                blocks.append([])
                block_bytes = 0
            blocks[-1].append(own)
            block_bytes += shard.bytes
        return _EpochShare(epoch_index, blocks, list(accumulate(sum(each.clips for each in block) for block in blocks)))

    def _shuffle(self, epoch_index: int, block_index: int, slices: list[_ShardSlice]) -> _ShuffleBlock:
        ends = list(accumulate(each.clips for each in slices))
        generator = generator_for(self._seed, "windows", self._reader_index, epoch_index, block_index)
        self._sample_ends = {each.shard.path: list(accumulate(each.shard.windows)) for each in slices}
        permutation = torch.randperm(ends[-1], generator=generator).tolist()
        return _ShuffleBlock(epoch_index, block_index, tuple(each.shard for each in slices), slices, ends, permutation)


def _find(ends: list[int], number: int) -> tuple[int, int]:
    """Which of the successive ranges with these ends ``number`` is in, and its offset in that range."""
    index = bisect_right(ends, number)
    return index, number - (ends[index - 1] if index else 0)
