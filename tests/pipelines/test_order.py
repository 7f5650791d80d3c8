from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.media.order import WindowOrder
from pipelines.media.shard_index import Shard


def shards(*windows: tuple[int, ...]) -> tuple[Shard, ...]:
    return tuple(
        Shard(path=f"train/{k:06d}.tar", bytes=100, sha256="", videos=len(each), windows=each)
        for k, each in enumerate(windows)
    )


def order(listed: tuple[Shard, ...], rank: int = 0, world: int = 1, seed: int = 0, group: int = 200) -> WindowOrder:
    return WindowOrder(listed, rank=rank, world=world, seed=seed, group_bytes=group)


def names(reader: WindowOrder, draws: range) -> list[tuple[str, int, int]]:
    return [(window.shard.path, window.sample, window.start) for window in map(reader.window, draws)]


UNEVEN = shards((3, 1), (9,), (1,), (2, 2, 2), (40,))
ALL = {(shard.path, k, start) for shard in UNEVEN for k, count in enumerate(shard.windows) for start in range(count)}


def epochs(listed: tuple[Shard, ...], world: int, count: int, seed: int = 0) -> list[Counter[tuple[str, int, int]]]:
    """What all ranks together meet in each of ``count`` epochs, found from the shares that the rule gives them."""
    total = sum(shard.clips for shard in listed)
    met: list[Counter[tuple[str, int, int]]] = [Counter() for _ in range(count)]
    for rank in range(world):
        reader, draw = order(listed, rank, world, seed), 0
        for epoch in range(count):
            part = (rank + epoch) % world
            share = (part + 1) * total // world - part * total // world
            met[epoch].update(names(reader, range(draw, draw + share)))
            draw += share
    return met


@pytest.mark.parametrize("group", [1, 200, 10**9])
def test_one_rank_meets_every_window_once_an_epoch(group: int) -> None:
    reader = order(UNEVEN, group=group)
    assert reader.epoch == len(ALL) == 60
    for number in range(3):
        met = names(reader, range(60 * number, 60 * number + 60))
        assert set(met) == ALL and len(met) == 60
    assert names(reader, range(60)) != names(reader, range(60, 120))
    lonely = order(UNEVEN[4:], group=group)
    assert names(lonely, range(40)) != names(lonely, range(40, 80))


@given(
    windows=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=9),
    world=st.integers(1, 12),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_all_ranks_together_meet_every_window_once_an_epoch(windows: list[list[int]], world: int, seed: int) -> None:
    """However uneven the shards, and also with fewer of them, or fewer clips, than ranks."""
    listed = shards(*map(tuple, windows))
    everything = {(shard.path, k, start) for shard in listed for k, n in enumerate(shard.windows) for start in range(n)}
    for met in epochs(listed, world, 2 * world, seed):
        assert set(met) == everything and set(met.values()) == {1}


def test_when_ranks_divide_the_windows_the_first_batches_are_an_epoch() -> None:
    """Seen as training sees it: equal batches on all ranks, no window twice before all came once."""
    readers = [order(UNEVEN, rank, 4) for rank in range(4)]
    met = Counter(
        window for batch in range(3) for reader in readers for window in names(reader, range(5 * batch, 5 * batch + 5))
    )
    assert set(met) == ALL and set(met.values()) == {1}


def test_over_many_epochs_every_window_is_met_by_every_rank() -> None:
    even = shards(*[(5, 4)] * 8)
    met = Counter(names(order(even, rank=1, world=2), range(36 * 200)))
    assert len(met) == 72
    assert min(met.values()) > 60 and max(met.values()) < 140  # 100 expected


def test_starting_anywhere_gives_what_an_unbroken_reader_gets() -> None:
    unbroken = names(order(UNEVEN, 1, 2), range(300))
    assert unbroken[217:] == names(order(UNEVEN, 1, 2), range(217, 300))
    assert unbroken != names(order(UNEVEN, 1, 2, seed=1), range(300))


def test_a_late_start_is_arithmetic() -> None:
    assert order(UNEVEN, 1, 2).window(10**15) is not None


@pytest.mark.parametrize("world", [1, 3, 100])
def test_what_is_coming_is_what_comes(world: int) -> None:
    """The shards that a reader is told to fetch ahead are those that it needs next."""
    reader = order(UNEVEN, 2 % world, world, group=150)
    foreseen: tuple[Shard, ...] = ()
    present: tuple[Shard, ...] = ()
    for draw in range(200):
        window = reader.window(draw)
        if reader.present() is not present:
            present = reader.present()
            assert not foreseen or {shard.path for shard in foreseen} == {shard.path for shard in present}
            foreseen = reader.coming()
        assert window.shard in present
