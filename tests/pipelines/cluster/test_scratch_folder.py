"""The folder for Ray's own files is removed when its driver is gone, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cluster import scratch_folder as scratch

DRIVER = """
import sys
from pipelines.cluster.scratch_folder import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def driver(*before: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder until it is killed, started by the command ``before``."""
    command = [*before, sys.executable, "-c", DRIVER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folder_is_kept_while_its_driver_lives_and_then_removed() -> None:
    process, other = driver()
    with scratch.scratch_folder() as mine:
        assert mine.is_dir() and other.is_dir() and mine != other and mine.stat().st_mode & 0o777 == 0o700
    assert not mine.exists() and other.is_dir()
    process.kill()
    process.wait()
    with scratch.scratch_folder():
        assert not other.exists()


def test_folder_of_a_driver_in_another_container_is_kept() -> None:
    """Its process id is unknown here, or another process has it."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if os.getuid() or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root and process namespaces")
    process, other = driver(*unshare)
    with scratch.scratch_folder():
        assert other.is_dir()
    process.kill()
    process.wait()


def test_folders_without_lock_or_of_a_user_without_a_name_disturb_nobody() -> None:
    strange = [Path(f"/tmp/{scratch.FOLDER_PREFIX}{name}-{os.getpid()}") for name in ("1", "new", "link")]
    strange[0].mkdir()
    strange[1].mkdir()
    strange[2].symlink_to("/nowhere")
    if not os.getuid():
        (strange[0] / scratch.LOCK).touch()
        os.chown(strange[0], 54321, 54321)
    try:
        with scratch.scratch_folder():
            assert strange[0].is_dir() and strange[1].is_dir() and strange[2].is_symlink()
    finally:
        (strange[0] / scratch.LOCK).unlink(missing_ok=True)
        strange[0].rmdir()
        strange[1].rmdir()
        strange[2].unlink()
