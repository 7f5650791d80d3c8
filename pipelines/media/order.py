"""Which clip a rank reads when: arithmetic over the index's counts, no byte of a shard is touched.

A window is a clip: n successive frames that begin at one frame of a stored sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
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
class _Pass:
    """One rank's share of a pass: groups of shards that are shuffled together, and where each ends, in windows."""

    number: int
    groups: list[list[Shard]]
    ends: list[int]


@dataclass(frozen=True)
class _Group:
    """The group that windows are being read from: its place, its shuffled windows, where each shard ends."""

    key: tuple[int, int]
    shards: list[Shard]
    order: np.ndarray
    ends: np.ndarray


class WindowOrder:
    """The order in which one rank meets windows, pass after pass, without end; equal arguments give an equal order.

    In a pass the shuffled shards are dealt out to the ranks, each to the rank that has least so far, so no shard
    belongs to two ranks. Each rank takes ceil(all windows / world) windows: one that was dealt fewer begins again
    with its own, one that was dealt more leaves some out, others in every pass; with one rank a pass is every window
    once. Shards of a pass come in groups of at most ``group_bytes``, and the windows of a group are shuffled
    together, so every window is equally likely. Where there are fewer shards than ranks, all ranks follow one common
    order and take every world-th window of it.
    """

    def __init__(self, shards: tuple[Shard, ...], *, rank: int, world: int, seed: int, group_bytes: int) -> None:
        assert 0 <= rank < world, (rank, world)
        assert shards, "no shards"
        self.shared = len(shards) < world
        self._step, self._offset = (world, rank) if self.shared else (1, 0)
        self._rank, self._world = (0, 1) if self.shared else (rank, world)
        self._shards, self._seed, self._group_bytes = shards, seed, group_bytes
        self.length = -(-sum(shard.clips for shard in shards) // self._world)
        self._pass: _Pass | None = None
        self._group: _Group | None = None

    def window(self, draw: int) -> Window:
        """The window of this rank's draw number ``draw`` = 0, 1, 2, ...; any order of asking is right, rising is
        fast.
        """
        number, place = divmod(draw * self._step + self._offset, self.length)
        if self._pass is None or self._pass.number != number:
            self._pass = self._deal(number)
        lap, place = divmod(place, self._pass.ends[-1])
        turn = int(np.searchsorted(self._pass.ends, place, side="right"))
        place -= self._pass.ends[turn - 1] if turn else 0
        key = (number, lap * len(self._pass.groups) + turn)
        if self._group is None or self._group.key != key:
            self._group = self._shuffle(key, self._pass.groups[turn])
        return self._nth(int(self._group.order[place]))

    def _deal(self, number: int) -> _Pass:
        """This rank's shards of a pass, in groups of at most ``group_bytes`` (at least one shard)."""
        order = torch.randperm(len(self._shards), generator=generator_for(self._seed, "shards", number)).tolist()
        hands: list[list[Shard]] = [[] for _ in range(self._world)]
        totals = [0] * self._world
        for shard in (self._shards[k] for k in order):
            least = min(range(self._world), key=totals.__getitem__)
            hands[least].append(shard)
            totals[least] += shard.clips
        groups: list[list[Shard]] = []
        filled = 0
        for shard in hands[self._rank]:
            if not groups or filled + shard.bytes > self._group_bytes:
                groups.append([])
                filled = 0
            groups[-1].append(shard)
            filled += shard.bytes
        ends = list(accumulate(sum(shard.clips for shard in group) for group in groups))
        return _Pass(number, groups, ends)

    def _shuffle(self, key: tuple[int, int], shards: list[Shard]) -> _Group:
        ends = np.cumsum([shard.clips for shard in shards])
        generator = generator_for(self._seed, "windows", self._rank, *key)
        return _Group(key, shards, torch.randperm(int(ends[-1]), generator=generator).numpy(), ends)

    def _nth(self, number: int) -> Window:
        assert self._group is not None
        turn = int(np.searchsorted(self._group.ends, number, side="right"))
        shard = self._group.shards[turn]
        rest = number - int(self._group.ends[turn]) + shard.clips
        ends = np.cumsum(shard.windows)
        sample = int(np.searchsorted(ends, rest, side="right"))
        return Window(shard, sample, rest - int(ends[sample]) + shard.windows[sample])
