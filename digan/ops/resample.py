"""The [1, 3, 3, 1] blur applied before strided convolutions in the discriminators."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def blur(x: torch.Tensor, *, padding: int, stride: int = 1) -> torch.Tensor:
    """Convolve x [B, C, H, W], padded with ``padding`` zeros, with the outer product of [1, 3, 3, 1] / 8.

    Returns every ``stride``-th pixel: [B, C, (H + 2 padding - 4) // stride + 1, likewise W]. The depthwise convolution was
    the fastest of five exact variants on a CPU, forward and backward.
    """
    if stride > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16:
        # in bf16 on a CPU, the gradient of a strided depthwise convolution is ten times slower than this
        return blur(x, padding=padding)[..., ::stride, ::stride]
    channels = x.shape[1]
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)
