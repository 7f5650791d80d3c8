"""The [1, 3, 3, 1] blur that stands before every stride of the discriminators."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def blur(x: torch.Tensor, *, padding: int, stride: int = 1) -> torch.Tensor:
    """Blurs x [B, C, H, W] by the outer product of [1, 3, 3, 1] / 8, after ``padding`` zeros all round.

    Returns [B, C, (H + 2 padding - 4) // stride + 1, likewise W]: every ``stride``-th pixel of the valid part. A depthwise convolution:
    of five exact forms tried on a CPU (three 2x2 averages, shifted sums, one fused 6x6 convolution, ...) the fastest, forward and back.
    """
    if stride > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16:
        # the strided depthwise gradient in bf16 is ten times slower than blurring every pixel and dropping some
        return blur(x, padding=padding)[..., ::stride, ::stride]
    channels = x.shape[1]
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)
