"""What Ray has reserved for a trial's workers, given back when the trial has ended.

Tune ends a trial's process; the reservation outlives it, and Ray's own cleaner of such needs a dashboard. Given back while the process
still lives, its controller takes the loss of its workers for a failure and reserves anew, just before it dies: then nobody
holds that reservation, and no trial after it finds room. So each is kept until its process is gone. Trials' processes run on the
driver's machine.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

SETTLED = 1.0  # seconds after a process is gone in which its controller, another process, ends too
PATIENCE = 60.0  # seconds after which a process that does not end is not waited for


@dataclass
class _Held:
    placement: str
    pid: int
    since: float
    gone: float = 0.0

    def over(self) -> bool:
        now = time.monotonic()
        if not self.gone and not alive(self.pid):
            self.gone = now
        return now - self.since > PATIENCE or bool(self.gone and now - self.gone > SETTLED)


@dataclass
class Reservations:
    """Those whose trials are ending."""

    held: list[_Held] = field(default_factory=list)

    def leave(self, placement: str, lock: Path) -> None:
        """Ray's id of a reservation, and the file in which the trial's process wrote its number."""
        text = lock.read_text().strip() if lock.is_file() else ""
        self.held.append(_Held(placement=placement, pid=int(text) if text.isdigit() else 0, since=time.monotonic()))

    def give_back(self, *, everything: bool = False) -> None:
        """Give back what nobody uses any more; ``everything``: at the end of the sweep."""
        over = [each for each in self.held if everything or each.over()]
        self.held = [each for each in self.held if each not in over]
        for each in over:
            _remove(each.placement)


def alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and was not fetched does not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.parent.parent.is_dir() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _remove(placement: str) -> None:
    import ray
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    if ray.is_initialized():
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(placement)))
