from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

import pytest

from pipelines.video.isolation import IsolatedPool, ItemLost


def test_results_come_in_order_and_processes_are_renewed() -> None:
    with IsolatedPool("math:sqrt", processes=2, renew_after=7) as pool:
        assert list(pool.map([n * n for n in range(30)], lambda _: 30)) == list(range(30))


def test_a_process_works_while_the_caller_does(tmp_path: Path) -> None:
    """The next item is sent before a result is handed out, or a slow caller would leave the process idle."""
    made = [str(tmp_path / name) for name in "abcd"]
    with IsolatedPool("os:mkdir", processes=1) as pool:
        for number, _ in enumerate(pool.map(made, lambda _: 30)):
            following = Path(made[min(number + 1, len(made) - 1)])
            until = time.monotonic() + 20
            while not following.is_dir() and time.monotonic() < until:
                time.sleep(0.01)
            assert following.is_dir()


def test_an_error_costs_its_own_item_only() -> None:
    with IsolatedPool("math:sqrt", processes=2) as pool:
        results = list(pool.map([4, -1, 9], lambda _: 30))
    assert results[::2] == [2, 3]
    assert isinstance(results[1], ItemLost) and results[1].reason.startswith("ValueError")


def test_a_process_that_dies_is_named_and_replaced() -> None:
    with IsolatedPool("os:_exit", processes=2) as pool:
        assert list(pool.map([3, 0, 5], lambda _: 30)) == [
            ItemLost(f"its process died (exit code {n})") for n in (3, 0, 5)
        ]


def test_a_process_that_hangs_is_stopped() -> None:
    began = time.monotonic()
    with IsolatedPool("time:sleep", processes=2) as pool:
        results = list(pool.map([60, 0, 0], lambda seconds: 1.0 if seconds else 30))
    assert results == [ItemLost("took too long and was stopped"), None, None]
    assert time.monotonic() - began < 15


def test_leaving_ends_the_processes() -> None:
    with pytest.raises(KeyError), IsolatedPool("time:sleep", processes=2) as pool:
        workers = [worker.process for worker in pool._workers]
        raise KeyError
    assert all(process.poll() is not None for process in workers)


def half_a_message(seconds: float) -> None:
    """Send the beginning of a result and stop, as a process does that is out of memory or stopped."""
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, (1000).to_bytes(4, "big") + b"half")
    time.sleep(seconds)


def test_a_process_that_stops_within_a_message_is_stopped_at_its_deadline() -> None:
    began = time.monotonic()
    with IsolatedPool(f"{__name__}:half_a_message", processes=1) as pool:
        results = list(pool.map([60], lambda _: 2.0))
    assert results == [ItemLost("took too long and was stopped")]
    assert time.monotonic() - began < 20
