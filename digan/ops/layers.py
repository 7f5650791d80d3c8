"""Layers with equalized learning rate: N(0, 1) weights, scaled at run time (Progressive GAN, Section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2.0)


def lrelu(x: torch.Tensor) -> torch.Tensor:
    """In-place leaky ReLU of slope 0.2, *without* the gain sqrt(2), which callers fold into the preceding weights.

    That is exact, since lrelu(g x) = g lrelu(x) for g > 0, and cheaper, since weights are smaller than activations.
    """
    return F.leaky_relu(x, LRELU_SLOPE, inplace=True)


class EqualizedLinear(nn.Module):
    """y = x (m / sqrt(fan_in) W)^T + m b, W drawn from N(0, 1) / m; with ``activate``, lrelu with gain sqrt(2) after it.

    ``x`` is [..., in_features], the result float32; m is ``lr_multiplier``, and ``bias`` the initial b (``None``: no b).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: float | None = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = None if bias is None else nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def reset(self, *, generator: torch.Generator) -> None:
        """Reinitialize the weights."""
        with torch.no_grad():
            self.weight.normal_(generator=generator).div_(self.lr_multiplier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gain = LRELU_GAIN if self.activate else 1.0
        scale = gain * self.lr_multiplier / math.sqrt(self.weight.shape[1])
        # x is smaller than the weights, so x is scaled; autocast is off to avoid casting the weights
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias * (gain * self.lr_multiplier)
            y = F.linear(x.float() * scale, self.weight, bias)
        return lrelu(y) if self.activate else y


class EqualizedConv(nn.Module):
    """Convolution of x [B, in_channels, H, W] with weights gain W / sqrt(fan_in) and bias gain b; no activation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.stride = stride
        self.padding = padding

    def reset(self, *, generator: torch.Generator) -> None:
        """Reinitialize the weights."""
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        weight = self.weight * (gain / math.sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else self.bias * gain
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


def reset_parameters(module: nn.Module, *, generator: torch.Generator) -> None:
    """Reinitialize all layers of ``module`` in a fixed order: equally seeded generators give equal weights."""
    for child in module.modules():
        reset = getattr(child, "reset", None)
        if child is not module and callable(reset):
            reset(generator=generator)
