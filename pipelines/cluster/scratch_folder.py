"""The folder for Ray's own files, in /tmp: it is locked while its driver lives, and the next driver removes it after that."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from digan.system import lock_file

FOLDER_PREFIX = "digan-ray-"  # sockets are below /tmp/digan-ray-XXXXXXXX: a Unix socket's path has at most 107 bytes
LOCK, TOKEN = "driver.lock", "auth_token"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this user alone with a short path. Those of drivers that were killed are removed first."""
    parent = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    for old in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # another driver removes it, or it is someone else's
            _remove_if_abandoned(old)
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
        unlocked = Path(folder, f"{LOCK}.new")
        with unlocked.open("w") as lock:
            lock_file(lock, wait=True)
            unlocked.rename(Path(folder, LOCK))  # appears when it is locked
            yield Path(folder)


def write_token(folder: Path) -> Path:
    """Write the login token of this process's private clusters to a file in ``folder`` that only this user can read."""
    path = folder / TOKEN
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_token())
    return path


@cache
def _token() -> str:
    """One for each process, since Ray keeps the first one that it has read."""
    return secrets.token_hex(32)


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a folder of this user if no process holds its lock.

    A lock holds in all containers that share the folder; a process id means something in one of them only.
    """
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    with (folder / LOCK).open("r+") as lock:  # FileNotFoundError: its driver is about to make it
        lock_file(lock)  # BlockingIOError: its driver lives
        shutil.rmtree(folder, ignore_errors=True)
