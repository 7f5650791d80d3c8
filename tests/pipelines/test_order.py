from __future__ import annotations

from collections import Counter

import pytest

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


@pytest.mark.parametrize("group", [1, 200, 10**9])
def test_one_rank_meets_every_window_once_a_pass(group: int) -> None:
    reader = order(UNEVEN, group=group)
    assert reader.length == len(ALL) == 60
    for number in range(3):
        met = names(reader, range(60 * number, 60 * number + 60))
        assert set(met) == ALL and len(met) == 60
    assert names(reader, range(60)) != names(reader, range(60, 120))
    lonely = order(UNEVEN[4:], group=group)
    assert names(lonely, range(40)) != names(lonely, range(40, 80))


@pytest.mark.parametrize("world", [2, 3, 5])
def test_no_shard_is_read_by_two_ranks_in_a_pass(world: int) -> None:
    readers = [order(UNEVEN, rank, world) for rank in range(world)]
    length = readers[0].length
    assert {reader.length for reader in readers} == {-(-60 // world)}
    for number in range(4):
        read = [
            {path for path, *_ in names(reader, range(number * length, (number + 1) * length))} for reader in readers
        ]
        assert sum(map(len, read)) == len(set().union(*read))


def test_over_many_passes_every_window_is_met_by_every_rank() -> None:
    even = shards(*[(5, 4)] * 8)
    met = Counter(names(order(even, rank=1, world=2), range(36 * 200)))
    assert len(met) == 72
    assert min(met.values()) > 60 and max(met.values()) < 140  # 100 expected


def test_fewer_shards_than_ranks_share_them_without_repeating() -> None:
    few = shards((3, 4))
    readers = [order(few, rank, 4) for rank in range(4)]
    met = [window for draw in range(7) for reader in readers for window in names(reader, range(draw, draw + 1))]
    assert all(set(Counter(met[start : start + 7]).values()) == {1} for start in range(0, 28, 7))
    assert names(order(shards((1,)), 2, 3), range(5)) == [("train/000000.tar", 0, 0)] * 5


def test_starting_anywhere_gives_what_an_unbroken_reader_gets() -> None:
    unbroken = names(order(UNEVEN, 1, 2), range(300))
    assert unbroken[217:] == names(order(UNEVEN, 1, 2), range(217, 300))
    assert unbroken != names(order(UNEVEN, 1, 2, seed=1), range(300))


def test_a_late_start_is_arithmetic() -> None:
    assert order(UNEVEN, 1, 2).window(10**15) is not None
