"""How numbers are computed, and where their memory comes from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

REUSE = """
import ctypes, resource, sys, threading, torch
from digan.training.numerics import keep_freed_memory
if not hasattr(ctypes.CDLL(None), "mallopt"):
    sys.exit(3)
if sys.argv[1] == "keep":
    keep_freed_memory()
def work():
    found = []
    for _ in range(24):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(50_000_000)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(sorted(found[-9:])[4])
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def pages(mode: str) -> int:
    """Pages that the system has to hand out for a tensor of 200 MB (49 000 of them) when its like has been freed often."""
    environment = dict(os.environ, MALLOC_ARENA_MAX="1")
    done = subprocess.run(
        [sys.executable, "-c", REUSE, mode], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_freed_memory_is_reused_in_a_thread() -> None:
    assert pages("keep") < 100
    assert pages("no") > 10_000  # else this measures nothing
