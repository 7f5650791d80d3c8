"""Frees the placement group of a trial's training after the trial's process was stopped or killed.

A training that ends by itself returns its group. Where Tune stops a trial, Ray Train's controller dies with the trial's process
and the group would stay until the sweep ends. Ray Train's cleaner asks whatever cluster's dashboard it finds on the machine.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import psutil
import ray
from ray.util.placement_group import remove_placement_group

SETTLED = 2.0  # seconds after the end of a process in which its controller, another process, ends as well


class PlacementKeeper:
    """A Ray actor on the node where the trials' processes run."""

    def hold(self, process: int, group: Any) -> None:
        """Free ``group`` once the process with this id has ended."""
        threading.Thread(target=_free_after, args=(process, group), daemon=True).start()


def _free_after(process: int, group: Any) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait()
    time.sleep(SETTLED)
    remove_placement_group(group)


def start_keeper() -> Any:
    """Start the actor where Tune starts trials; it ends with its last handle."""
    return ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(PlacementKeeper).remote()
