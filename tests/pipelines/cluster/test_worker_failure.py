"""Only what a restart can cure is restarted; every other error ends the training with its traceback."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import DistNetworkError

from digan.errors import UserError
from pipelines.cluster.worker_failure import failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UserError("a: b"), "mistake"),
        (OSError(errno.ENOSPC, "No space left on device"), "mistake"),
        (DistNetworkError("The client socket has failed to connect to any network address"), "loss"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "loss"),
        (OSError(errno.ESTALE, "Stale file handle"), "loss"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), "bug"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1000 bytes"), "bug"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "bug"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "bug"),
        (NotImplementedError("no kernel"), "bug"),
        (RecursionError("maximum recursion depth exceeded"), "bug"),
        (MemoryError(), "bug"),
        (TypeError("x"), "bug"),
    ],
)
def test_errors_are_classified_by_what_a_restart_can_cure(error: Exception, kind: str) -> None:
    assert failure_of(error, 0).kind == kind


def test_bug_keeps_its_traceback() -> None:
    try:
        torch.ones(2, 3) @ torch.ones(4, 5)
    except RuntimeError as error:
        failure = failure_of(error, 1)
    assert failure.kind == "bug" and "test_worker_failure.py" in failure.text and failure.text.startswith("Traceback")


PEER = """
import os, signal, sys
import torch
from torch import distributed
from pipelines.cluster.worker_failure import failure_of
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
distributed.all_reduce(torch.ones(4))
if rank:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    distributed.all_reduce(torch.ones(4))
except Exception as error:
    print(failure_of(error, rank).kind, flush=True)
"""


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="needs torch 2.8")
def test_device_error_is_a_loss_unless_the_program_caused_it() -> None:
    for code, kind in (
        (214, "loss"),
        (719, "loss"),
        (710, "bug"),
        (700, "bug"),
    ):  # ECC, launch failure; assertion, address
        error = type("DeviceError", (torch.AcceleratorError,), {"error_code": code})("CUDA error")
        assert failure_of(error, 0).kind == kind


@pytest.mark.slow
def test_peer_of_a_killed_worker_reports_a_loss(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PEER]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    assert [process.communicate(timeout=120)[0].split() for process in both] == [["loss"], []]
