"""Which clip a rank reads when: arithmetic over the index's counts, no byte of a shard is touched.

A window is a clip: n successive frames that begin at one frame of a stored sample. An epoch is every window once, over
all ranks together.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import torch

from digan.seeding import generator_for
from pipelines.media.shard_index import Shard


@dataclass(frozen=True)
class Window:
    """A clip's place: the shard, the sample in it, the first frame in the sample."""

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
class _Share:
    """One rank's windows of an epoch: groups of pieces that are shuffled together, and where each ends, in windows."""

    epoch: int
    groups: list[list[_Piece]]
    ends: list[int]


@dataclass(frozen=True)
class _Group:
    """The group that windows are being read from: its place, its pieces and where each ends, its shuffled windows."""

    epoch: int
    number: int
    shards: tuple[Shard, ...]
    pieces: list[_Piece]
    ends: list[int]
    order: list[int]


class WindowOrder:
    """The order in which one rank meets windows, epoch after epoch, without end; equal arguments give an equal order.

    An epoch is a row of all windows, shard after shard in shuffled order. It is cut into ``world`` parts that differ by
    one window at most, however many or few shards there are: a shard that lies on a cut is read by both ranks, each
    its own windows of it. Parts go round, so that after ``world`` epochs every rank has read equally much. A part comes
    in groups of shards of at most ``group_bytes`` together (at least one shard), and the windows of a group are
    shuffled together.
    """

    def __init__(self, shards: tuple[Shard, ...], *, rank: int, world: int, seed: int, group_bytes: int) -> None:
        assert 0 <= rank < world, (rank, world)
        assert shards, "no shards"
        self._rank, self._world, self._seed = rank, world, seed
        self._shards, self._group_bytes = shards, group_bytes
        self.epoch = sum(shard.clips for shard in shards)  # windows of an epoch, all ranks together
        self._share: _Share | None = None
        self._group: _Group | None = None
        self._sample_ends: dict[str, list[int]] = {}

    def window(self, draw: int) -> Window:
        """The window of this rank's draw number ``draw`` = 0, 1, 2, ...; any order of asking is right, rising is
        fast.
        """
        epoch, place = self._place(draw)
        if self._share is None or self._share.epoch != epoch:
            self._share = self._cut(epoch)
        number = bisect_right(self._share.ends, place)
        place -= self._share.ends[number - 1] if number else 0
        if self._group is None or (self._group.epoch, self._group.number) != (epoch, number):
            self._group = self._shuffle(epoch, number, self._share.groups[number])
        return self._nth(self._group, self._group.order[place])

    def present(self) -> tuple[Shard, ...]:
        """The shards of the group that the last window came from."""
        return self._group.shards if self._group else ()

    def coming(self) -> tuple[Shard, ...]:
        """The shards of the group after that one."""
        if self._group is None or self._share is None:
            return ()
        if self._group.number + 1 < len(self._share.groups):
            return tuple(piece.shard for piece in self._share.groups[self._group.number + 1])
        epoch = self._share.epoch + 1
        while not (share := self._cut(epoch)).groups:  # fewer windows than ranks: some epochs have none for this one
            epoch += 1
        return tuple(piece.shard for piece in share.groups[0])

    def _bounds(self, epoch: int) -> tuple[int, int]:
        part = (self._rank + epoch) % self._world
        return part * self.epoch // self._world, (part + 1) * self.epoch // self._world

    def _place(self, draw: int) -> tuple[int, int]:
        """The epoch of a draw and its place among this rank's windows of that epoch."""
        rounds, place = divmod(draw, self.epoch)  # in ``world`` epochs this rank meets as many windows as an epoch has
        epoch = rounds * self._world
        while True:
            low, high = self._bounds(epoch)
            if place < high - low:
                return epoch, place
            place -= high - low
            epoch += 1

    def _cut(self, epoch: int) -> _Share:
        """This rank's pieces of an epoch, in groups."""
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
        return _Share(epoch, groups, list(accumulate(sum(p.last - p.first for p in group) for group in groups)))

    def _shuffle(self, epoch: int, number: int, pieces: list[_Piece]) -> _Group:
        ends = list(accumulate(piece.last - piece.first for piece in pieces))
        generator = generator_for(self._seed, "windows", self._rank, epoch, number)
        self._sample_ends = {piece.shard.path: list(accumulate(piece.shard.windows)) for piece in pieces}
        shards = tuple(piece.shard for piece in pieces)
        return _Group(epoch, number, shards, pieces, ends, torch.randperm(ends[-1], generator=generator).tolist())

    def _nth(self, group: _Group, number: int) -> Window:
        turn = bisect_right(group.ends, number)
        piece = group.pieces[turn]
        place = number - (group.ends[turn - 1] if turn else 0) + piece.first
        ends = self._sample_ends[piece.shard.path]
        sample = bisect_right(ends, place)
        return Window(piece.shard, sample, place - (ends[sample - 1] if sample else 0))
