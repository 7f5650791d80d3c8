"""Equalized layers: stored weights are unit normal and scaled at run time (Progressive GAN, Section 4.1, equalized learning rate)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2.0)


def lrelu(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU of slope 0.2, in place on a fresh result, *without* its gain sqrt(2): callers fold the gain into the weights before it.

    lrelu is positively homogeneous, lrelu(g x) = g lrelu(x) for g > 0, so a gain on small weights replaces one on large activations.
    """
    return F.leaky_relu(x, LRELU_SLOPE, inplace=True)


class EqualizedLinear(nn.Module):
    """y = x (m / sqrt(fan_in) W)^T + m b, W drawn from N(0, 1) / m; with ``activate``, lrelu with gain sqrt(2) after it.

    ``x`` is [..., in_features], the result float32; m is ``lr_multiplier``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def reset(self, *, generator: torch.Generator) -> None:
        """Draws the weights anew."""
        with torch.no_grad():
            self.weight.normal_(generator=generator).div_(self.lr_multiplier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gain = LRELU_GAIN if self.activate else 1.0
        scale = gain * self.lr_multiplier / math.sqrt(self.weight.shape[1])
        # codes are few and weights are many: the scale goes to the codes, and no weight is cast to a lower precision
        with torch.autocast(x.device.type, enabled=False):
            y = F.linear(x.float() * scale, self.weight, self.bias * (gain * self.lr_multiplier))
        return lrelu(y) if self.activate else y


class EqualizedConv(nn.Module):
    """Convolution with weights W / sqrt(fan_in) times ``gain``; ``bias`` too is multiplied by ``gain``. No activation.

    ``x`` is [B, in_channels, H, W].
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.stride = stride
        self.padding = padding

    def reset(self, *, generator: torch.Generator) -> None:
        """Draws the weights anew."""
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        weight = self.weight * (gain / math.sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else self.bias * gain
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


def reset_parameters(module: nn.Module, *, generator: torch.Generator) -> None:
    """Draws every weight of ``module`` anew, in the order of its layers: equal generators, equal weights."""
    for child in module.modules():
        reset = getattr(child, "reset", None)
        if child is not module and callable(reset):
            reset(generator=generator)
