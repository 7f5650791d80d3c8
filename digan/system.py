"""What differs between systems and users, in one place: home folder, processor cores, file locks, peak memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from digan.errors import UserError


def check_home() -> None:
    """Reject a user without a home folder, as in a container with a bare user id: Ray, MLflow and caches need one."""
    try:
        Path.home()
    except RuntimeError:
        raise UserError(
            "HOME: is not set, and the system knows no home folder of this user; set it to a folder that the user can"
            " write, such as HOME=/tmp"
        ) from None


def available_cores() -> int:
    """Return the number of cores that this process may use; where that is unknown, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lock_file(file: IO[str], *, wait: bool = False) -> None:
    """Lock an open file against other processes until it is closed or this process ends.

    ``BlockingIOError`` if another process holds the lock and ``wait`` is false; ``UserError`` on a system without
    such locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise UserError(f"{sys.platform}: this system has no file locks (fcntl); use Linux or macOS") from error
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def peak_memory() -> int:
    """Return the largest memory that this process has had, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux kilobytes
