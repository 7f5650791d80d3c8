"""How numbers are computed: precision, determinism, compilation. All of it is set for the whole process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from digan.errors import UserError
from digan.training.config import TrainingConfig


def set_numerics(training: TrainingConfig, device: torch.device) -> None:
    """Applies ``precision`` (float32 products in full or as TF32; bf16 is autocast in the step) and ``deterministic``.

    On a CPU tf32 is fp32. Deterministic mode makes operations that have no deterministic version fail rather than vary.
    """
    fast = training.precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = device.type == "cuda" and not training.deterministic
    if training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(training.deterministic)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` through torch.compile. Only for what is differentiated once: R1 and path lengths stay as they are."""
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        raise UserError(
            "training.compile=true: needs a C++ compiler (c++ or $CXX), and there is none; install g++, or set it false"
        )
    return torch.compile(function, dynamic=False)
