from __future__ import annotations

import subprocess
import sys
import time
from queue import Queue

import pytest

from pipelines.sweeps import placement_keeper
from pipelines.sweeps.placement_keeper import PlacementKeeper


def test_group_is_freed_after_its_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freed sooner, Ray Train's controller would reserve resources again just before it dies, and nobody would free those."""
    removed: Queue[tuple[str, float]] = Queue()
    monkeypatch.setattr(
        placement_keeper, "remove_placement_group", lambda group: removed.put((group, time.monotonic()))
    )
    monkeypatch.setattr(placement_keeper, "SETTLED", 0.5)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        PlacementKeeper().hold(process.pid, "group")
        time.sleep(0.2)
        killed = time.monotonic()
        process.kill()
    group, freed = removed.get(timeout=30)
    assert group == "group" and freed >= killed + 0.5
    PlacementKeeper().hold(process.pid, "of an ended process")
    assert removed.get(timeout=30)[0] == "of an ended process"
