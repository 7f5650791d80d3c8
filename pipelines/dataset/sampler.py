"""Which clip a reader gets when: arithmetic over the index's counts that reads no shard.

A window is a clip: n successive frames that begin at one frame of a stored sample. An epoch is every window once, over
all readers together. Shuffling is by blocks: shards in random order, then the windows within a group of shards that
fits the buffer; windows of shards far apart meet in a batch only in another epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import torch

from digan.seeding import generator_for
from pipelines.dataset.shard_index import Shard


@dataclass(frozen=True)
class Window:
    """A clip's position: the shard, the sample in it, the first frame in the sample."""

    shard: Shard
    sample: int
    start: int


@dataclass(frozen=True)
class _Piece:
    """Successive windows of a shard, from ``first`` up to and without ``last``."""

    shard: Shard
    first: int
    last: int


@dataclass(frozen=True)
class _Part:
    """One reader's windows of an epoch: groups of pieces that are shuffled together, and where each ends, in windows."""

    epoch: int
    groups: list[list[_Piece]]
    ends: list[int]


@dataclass(frozen=True)
class _Group:
    """The group being read: its number in the part, its pieces and where each ends, its shuffled windows."""

    epoch: int
    number: int
    shards: tuple[Shard, ...]
    pieces: list[_Piece]
    ends: list[int]
    order: list[int]


class ClipSampler:
    """The endless order in which one reader gets windows, epoch after epoch; equal arguments give an equal order.

    An epoch is a row of all windows, shard after shard in shuffled order. It is cut into ``num_readers`` parts that
    differ by one window at most, however few or uneven the shards: both readers of a shard on a cut read it, each its
    own windows of it. Parts rotate, so that after ``num_readers`` epochs every reader has read equally much. A part is
    read in groups of shards of at most ``group_bytes`` together (at least one shard), and the windows of a group are
    shuffled together.
    """

    def __init__(
        self, shards: tuple[Shard, ...], *, reader_index: int, num_readers: int, seed: int, group_bytes: int
    ) -> None:
        assert 0 <= reader_index < num_readers, (reader_index, num_readers)
        assert shards, "no shards"
        self._reader_index, self._num_readers, self._seed = reader_index, num_readers, seed
        self._shards, self._group_bytes = shards, group_bytes
        self.clips_per_epoch = sum(shard.clips for shard in shards)  # over all readers
        self._part: _Part | None = None
        self._group: _Group | None = None
        self._sample_ends: dict[str, list[int]] = {}

    def window(self, draw: int) -> Window:
        """The window of this reader's draw number ``draw`` = 0, 1, 2, ...; fast when ``draw`` rises."""
        epoch, position = self._position(draw)
        if self._part is None or self._part.epoch != epoch:
            self._part = self._cut(epoch)
        number = bisect_right(self._part.ends, position)
        position -= self._part.ends[number - 1] if number else 0
        if self._group is None or (self._group.epoch, self._group.number) != (epoch, number):
            self._group = self._shuffle(epoch, number, self._part.groups[number])
        return self._nth(self._group, self._group.order[position])

    def current_shards(self) -> tuple[Shard, ...]:
        """The shards of the group that the last window came from."""
        return self._group.shards if self._group else ()

    def next_shards(self) -> tuple[Shard, ...]:
        """The shards of the next group, for prefetching."""
        if self._group is None or self._part is None:
            return ()
        if self._group.number + 1 < len(self._part.groups):
            return tuple(piece.shard for piece in self._part.groups[self._group.number + 1])
        epoch = self._part.epoch + 1
        while not (
            part := self._cut(epoch)
        ).groups:  # with fewer windows than readers, some epochs have none for this one
            epoch += 1
        return tuple(piece.shard for piece in part.groups[0])

    def _bounds(self, epoch: int) -> tuple[int, int]:
        part = (self._reader_index + epoch) % self._num_readers
        return part * self.clips_per_epoch // self._num_readers, (part + 1) * self.clips_per_epoch // self._num_readers

    def _position(self, draw: int) -> tuple[int, int]:
        """The epoch of a draw, and its position among this reader's windows of that epoch."""
        rounds, position = divmod(draw, self.clips_per_epoch)  # what a reader gets in ``num_readers`` epochs
        epoch = rounds * self._num_readers
        while True:
            low, high = self._bounds(epoch)
            if position < high - low:
                return epoch, position
            position -= high - low
            epoch += 1

    def _cut(self, epoch: int) -> _Part:
        """This reader's pieces of an epoch, in groups."""
        low, high = self._bounds(epoch)
        groups: list[list[_Piece]] = []
        filled = begin = 0
        for k in torch.randperm(len(self._shards), generator=generator_for(self._seed, "shards", epoch)).tolist():
            shard = self._shards[k]
            piece = _Piece(shard, max(low - begin, 0), min(high - begin, shard.clips))
            begin += shard.clips
            if piece.first >= piece.last:
                continue
            if not groups or filled + shard.bytes > self._group_bytes:
                groups.append([])
                filled = 0
            groups[-1].append(piece)
            filled += shard.bytes
        return _Part(epoch, groups, list(accumulate(sum(p.last - p.first for p in group) for group in groups)))

    def _shuffle(self, epoch: int, number: int, pieces: list[_Piece]) -> _Group:
        ends = list(accumulate(piece.last - piece.first for piece in pieces))
        generator = generator_for(self._seed, "windows", self._reader_index, epoch, number)
        self._sample_ends = {piece.shard.path: list(accumulate(piece.shard.windows)) for piece in pieces}
        shards = tuple(piece.shard for piece in pieces)
        return _Group(epoch, number, shards, pieces, ends, torch.randperm(ends[-1], generator=generator).tolist())

    def _nth(self, group: _Group, number: int) -> Window:
        turn = bisect_right(group.ends, number)
        piece = group.pieces[turn]
        position = number - (group.ends[turn - 1] if turn else 0) + piece.first
        ends = self._sample_ends[piece.shard.path]
        sample = bisect_right(ends, position)
        return Window(piece.shard, sample, position - (ends[sample - 1] if sample else 0))
