"""Numerics: precision, determinism, compilation and memory reuse, set for the whole process."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from digan.errors import UserError
from digan.training.config import TrainingConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's constants for mallopt
MAX_THRESHOLD = 2**31 - 1  # bytes; the largest value that mallopt accepts


def set_numerics(training: TrainingConfig, device: torch.device) -> None:
    """Apply ``training.precision`` (TF32 matrix products or not; bf16 autocast is in the step) and ``deterministic``.

    On a CPU tf32 equals fp32. In deterministic mode, operations without a deterministic implementation raise.
    """
    if device.type == "cpu":
        keep_freed_memory()
    fast = training.precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = device.type == "cuda" and not training.deterministic
    if training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is initialized
    torch.use_deterministic_algorithms(training.deterministic)


def keep_freed_memory() -> None:
    """Make glibc keep freed tensor memory for the next step (no effect with other C libraries).

    By default it returns large blocks to the system and gets them back zeroed, which took a quarter of a step at 64x64
    with 128 channels. For a training thread, the process must also be started with ``MALLOC_ARENA_MAX=1``.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAX_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, -1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.compile(function)``. R1 and path length penalties do not use it, since they differentiate twice."""
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        raise UserError(
            "training.compile=true: no C++ compiler (c++ or $CXX) found; install g++, or set training.compile=false"
        )
    return torch.compile(function, dynamic=False)
