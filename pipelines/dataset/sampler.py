"""Which clip a reader gets at which draw: arithmetic over the counts in the index, without reading a shard.

A window is a clip: n successive frames of a stored sample. An epoch is every window once, over all readers together.
Clips are shuffled by blocks: shards in random order, then the windows within a block of shards that fits the buffer. Memory
is one block of encoded frames, and each shard is read once an epoch (twice where two readers share it). The price: clips
whose shards are in different blocks never share a batch in that epoch, so a batch is no uniform draw from the split; the
smaller the buffer, the less so. Finding a window costs O(shards) at a new epoch, O(log) otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
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

    @cached_property
    def sample_ends(self) -> list[int]:
        return list(accumulate(self.shard.windows))


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
        self._epoch_index = self._block_index = 0  # of the last window
        self._blocks = lru_cache(maxsize=2)(self._blocks_of)
        self._permutation = lru_cache(maxsize=1)(self._shuffle)

    def window(self, draw_index: int) -> Window:
        """The window of this reader's draw 0, 1, 2, ...; fast when ``draw_index`` rises."""
        self._epoch_index, window_index = self._locate(draw_index)
        blocks, block_ends = self._blocks(self._epoch_index)
        self._block_index, window_index = _find(block_ends, window_index)
        permutation, slice_ends = self._permutation(self._epoch_index, self._block_index)
        slice_index, offset = _find(slice_ends, permutation[window_index])
        found = blocks[self._block_index][slice_index]
        return Window(found.shard, *_find(found.sample_ends, offset + found.first_window))

    def current_shards(self) -> list[Shard]:
        """Shards of the shuffle block that the last window came from."""
        blocks, _ = self._blocks(self._epoch_index)
        return [each.shard for each in blocks[self._block_index]]

    def next_shards(self) -> list[Shard]:
        """Shards of the next shuffle block, for prefetching."""
        blocks = self._blocks(self._epoch_index)[0][self._block_index + 1 :]
        epochs = count(self._epoch_index + 1)
        while not blocks:  # with fewer windows than readers, a reader has none in some epochs
            blocks, _ = self._blocks(next(epochs))
        return [each.shard for each in blocks[0]]

    def _bounds(self, epoch_index: int) -> tuple[int, int]:
        """Where this reader's share of the epoch's windows begins and ends."""
        share, clips = (self._reader_index + epoch_index) % self._num_readers, self.clips_per_epoch
        return share * clips // self._num_readers, (share + 1) * clips // self._num_readers

    def _locate(self, draw_index: int) -> tuple[int, int]:
        """The epoch of a draw, and its index among this reader's windows of that epoch."""
        rounds, window_index = divmod(draw_index, self.clips_per_epoch)  # a reader gets an epoch in ``num_readers``
        for epoch_index in count(rounds * self._num_readers):
            low, high = self._bounds(epoch_index)
            if window_index < high - low:
                break
            window_index -= high - low
        return epoch_index, window_index

    def _blocks_of(self, epoch_index: int) -> tuple[list[list[_ShardSlice]], list[int]]:
        """The shuffle blocks of this reader's share, and the number of windows up to the end of each."""
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
        return blocks, list(accumulate(sum(each.clips for each in block) for block in blocks))

    def _shuffle(self, epoch_index: int, block_index: int) -> tuple[list[int], list[int]]:
        """The order of a block's windows, and the number of windows up to the end of each of its slices."""
        ends = list(accumulate(each.clips for each in self._blocks(epoch_index)[0][block_index]))
        generator = generator_for(self._seed, "windows", self._reader_index, epoch_index, block_index)
        return torch.randperm(ends[-1], generator=generator).tolist(), ends


def _find(ends: list[int], number: int) -> tuple[int, int]:
    """Which of the successive ranges with these ends ``number`` is in, and its offset in that range."""
    index = bisect_right(ends, number)
    return index, number - (ends[index - 1] if index else 0)
