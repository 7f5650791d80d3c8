"""How numbers are computed: precision, determinism, compilation. All of it is set for the whole process."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from digan.errors import UserError
from digan.training.config import TrainingConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt
LARGEST = 2**31 - 1  # bytes; what mallopt can be told


def set_numerics(training: TrainingConfig, device: torch.device) -> None:
    """Applies ``precision`` (float32 products in full or as TF32; bf16 is autocast in the step) and ``deterministic``.

    On a CPU tf32 is fp32. Deterministic mode makes operations that have no deterministic version fail rather than vary.
    """
    if device.type == "cpu":
        keep_freed_memory()
    fast = training.precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = device.type == "cuda" and not training.deterministic
    if training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(training.deterministic)


def keep_freed_memory() -> None:
    """Lets the C library keep what tensors give back, where it can be told so (glibc), for the tensors of the next step.

    It would otherwise return large blocks to the system and fetch them anew, zeroed page by page: at 64x64/128 a quarter of the step.
    In a thread of its own this works in full only with ``MALLOC_ARENA_MAX=1`` in the environment that the process starts with.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, -1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` through torch.compile. Only for what is differentiated once: R1 and path lengths stay as they are."""
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        raise UserError(
            "training.compile=true: needs a C++ compiler (c++ or $CXX), and there is none; install g++, or set it false"
        )
    return torch.compile(function, dynamic=False)
