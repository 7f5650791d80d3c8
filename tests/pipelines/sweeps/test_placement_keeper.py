from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipelines.sweeps import placement_keeper
from pipelines.sweeps.placement_keeper import SETTLED, PlacementKeeper


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(placement_keeper, "remove_placement_group", found.append)
    monkeypatch.setattr(placement_keeper, "INTERVAL", 1e6)  # the tests call free_ended themselves
    return found


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield sleeper
    sleeper.kill()
    sleeper.wait()


def test_group_is_freed_after_its_process_has_ended(removed: list[str], process: subprocess.Popen[bytes]) -> None:
    """Freed sooner, Ray Train's controller would reserve resources again just before it dies, and nobody would free those."""
    keeper = PlacementKeeper()
    keeper.hold(process.pid, "first")
    keeper.hold(process.pid, "second")  # Ray Train freed the first when it restarted the workers
    keeper.free_ended(0.0)
    process.kill()
    process.wait()
    keeper.free_ended(100.0)
    keeper.free_ended(100.0 + SETTLED / 2)
    assert removed == []
    keeper.free_ended(100.0 + SETTLED)
    keeper.free_ended(200.0)
    assert removed == ["second"]
