"""The [1, 3, 3, 1] blur that stands before every stride of the discriminators.

[1, 3, 3, 1] / 8 is three averages of two neighbours in a row, so the 4x4 blur is three 2x2 averages: no weights, and
channels-last pooling is faster on a CPU than a depthwise convolution (benchmarks/train_step.py).
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def blur(x: torch.Tensor, *, padding: int, stride: int = 1) -> torch.Tensor:
    """Blurs x [B, C, H, W] by the outer product of [1, 3, 3, 1] / 8, after ``padding`` zeros all round.

    Returns [B, C, (H + 2 padding - 4) // stride + 1, likewise W]: every ``stride``-th pixel of the valid part.
    """
    x = F.pad(x, (padding,) * 4)
    x = F.avg_pool2d(x, 2, stride=1)
    x = F.avg_pool2d(x, 2, stride=1)
    return F.avg_pool2d(x, 2, stride=stride)
