"""Frees the placement group of a trial's training after the trial's process was stopped or killed.

A training that ends by itself returns its group. Where Tune stops a trial, Ray Train's controller dies with the trial's process
and the group would stay until the sweep ends. Ray Train's cleaner asks whatever cluster's dashboard it finds on the machine.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import ray
from ray.util.placement_group import remove_placement_group

INTERVAL = 0.5  # seconds between two checks of the trials' processes
SETTLED = 2.0  # seconds after the end of a process in which its controller, another process, ends as well


class PlacementKeeper:
    """Knows the placement group of each trial's process; a Ray actor on the node where these processes run."""

    def __init__(self) -> None:
        self._groups: dict[int, Any] = {}
        self._ended: dict[int, float] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def hold(self, process: int, group: Any) -> None:
        """Free ``group`` once the process with this id has ended; replaces an earlier group of the same process."""
        self._ended.pop(process, None)
        self._groups[process] = group

    def free_ended(self, now: float) -> None:
        """Free the groups of processes that ended at least ``SETTLED`` seconds ago; ``now`` is a monotonic time."""
        for process in list(self._groups):
            if not psutil.pid_exists(process) and now - self._ended.setdefault(process, now) >= SETTLED:
                del self._ended[process]
                remove_placement_group(self._groups.pop(process))

    def _watch(self) -> None:
        while True:
            time.sleep(INTERVAL)
            self.free_ended(time.monotonic())


def start_keeper() -> Any:
    """Start the actor where Tune starts trials; it ends with its last handle."""
    return ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(PlacementKeeper).remote()
