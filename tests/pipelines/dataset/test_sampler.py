from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset.sampler import ClipSampler
from pipelines.dataset.shard_index import Shard


def shards(*windows: tuple[int, ...]) -> tuple[Shard, ...]:
    return tuple(
        Shard(path=f"train/{k:06d}.tar", bytes=100, sha256="", videos=len(each), windows=each)
        for k, each in enumerate(windows)
    )


def order(
    listed: tuple[Shard, ...], reader_index: int = 0, num_readers: int = 1, seed: int = 0, group: int = 200
) -> ClipSampler:
    return ClipSampler(listed, reader_index=reader_index, num_readers=num_readers, seed=seed, block_bytes=group)


def names(reader: ClipSampler, draws: range) -> list[tuple[str, int, int]]:
    return [(window.shard.path, window.sample_index, window.first_frame) for window in map(reader.window, draws)]


UNEVEN = shards((3, 1), (9,), (1,), (2, 2, 2), (40,))
ALL = {(shard.path, k, start) for shard in UNEVEN for k, count in enumerate(shard.windows) for start in range(count)}


def epochs(
    listed: tuple[Shard, ...], num_readers: int, count: int, seed: int = 0
) -> list[Counter[tuple[str, int, int]]]:
    """What all readers together get in each of ``count`` epochs, by the size of each reader's part."""
    total = sum(shard.clips for shard in listed)
    met: list[Counter[tuple[str, int, int]]] = [Counter() for _ in range(count)]
    for reader_index in range(num_readers):
        reader, draw = order(listed, reader_index, num_readers, seed), 0
        for epoch in range(count):
            part = (reader_index + epoch) % num_readers
            share = (part + 1) * total // num_readers - part * total // num_readers
            met[epoch].update(names(reader, range(draw, draw + share)))
            draw += share
    return met


@pytest.mark.parametrize("group", [1, 200, 10**9])
def test_a_single_reader_gets_every_window_once_per_epoch(group: int) -> None:
    reader = order(UNEVEN, group=group)
    assert reader.clips_per_epoch == len(ALL) == 60
    for number in range(3):
        met = names(reader, range(60 * number, 60 * number + 60))
        assert set(met) == ALL and len(met) == 60
    assert names(reader, range(60)) != names(reader, range(60, 120))
    lonely = order(UNEVEN[4:], group=group)
    assert names(lonely, range(40)) != names(lonely, range(40, 80))


@given(
    windows=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=9),
    num_readers=st.integers(1, 12),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_all_readers_together_get_every_window_once_per_epoch(
    windows: list[list[int]], num_readers: int, seed: int
) -> None:
    """However uneven the shards, and also with fewer of them, or fewer clips, than readers."""
    listed = shards(*map(tuple, windows))
    everything = {(shard.path, k, start) for shard in listed for k, n in enumerate(shard.windows) for start in range(n)}
    for met in epochs(listed, num_readers, 2 * num_readers, seed):
        assert set(met) == everything and set(met.values()) == {1}


def test_when_readers_divide_the_windows_the_first_batches_are_an_epoch() -> None:
    """Seen as training sees it: equal batches for all readers, no window twice before all came once."""
    readers = [order(UNEVEN, reader_index, 4) for reader_index in range(4)]
    met = Counter(
        window for batch in range(3) for reader in readers for window in names(reader, range(5 * batch, 5 * batch + 5))
    )
    assert set(met) == ALL and set(met.values()) == {1}


def test_over_many_epochs_every_reader_gets_every_window() -> None:
    even = shards(*[(5, 4)] * 8)
    met = Counter(names(order(even, reader_index=1, num_readers=2), range(36 * 200)))
    assert len(met) == 72
    assert min(met.values()) > 60 and max(met.values()) < 140  # 100 expected


def test_starting_late_gives_the_same_windows() -> None:
    unbroken = names(order(UNEVEN, 1, 2), range(300))
    assert unbroken[217:] == names(order(UNEVEN, 1, 2), range(217, 300))
    assert unbroken != names(order(UNEVEN, 1, 2, seed=1), range(300))


def test_a_late_start_is_arithmetic() -> None:
    assert order(UNEVEN, 1, 2).window(10**15) is not None


@pytest.mark.parametrize("num_readers", [1, 3, 100])
def test_next_shards_are_those_of_the_next_group(num_readers: int) -> None:
    """The shards that are prefetched are those that the reader needs next."""
    reader = order(UNEVEN, 2 % num_readers, num_readers, group=150)
    expected: list[list[Shard]] = []
    for draw in range(200):
        window, present = reader.window(draw), reader.current_shards()
        assert window.shard in present
        assert not expected or present in expected
        expected = [present, reader.next_shards()]


def test_the_assignment_of_clips_to_readers_is_that_of_earlier_versions() -> None:
    """A digest taken from commit 2b6f9dc; a run begun by an earlier version resumes with the same clips."""
    readers = [[names(order(UNEVEN, i, n, seed=3), range(200)) for i in range(n)] for n in (1, 3, 8)]
    assert hashlib.sha256(repr(readers).encode()).hexdigest() == (
        "b2f8c2a6c307550d04b56e1200b4a833c140ba6ed687186d3427b0e4fe4d32cb"
    )
