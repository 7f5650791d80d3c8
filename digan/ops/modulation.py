"""Factorized multiplicative modulation: w determines a layer's matrix (INR-GAN, Skorokhodov et al., 2021).

Legend: B videos, O output channels, I input channels, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from digan.ops.layers import LRELU_GAIN, EqualizedLinear


class ModulatedMatrix(nn.Module):
    """The matrix M(w) of one per-pixel layer: W (1 + A B / sqrt(r)), each row scaled to unit length.

    ``forward`` takes w [B, w_dim] and returns M^T [B, I, O] and the bias [O], both with lrelu's gain sqrt(2) folded in,
    so that ``lrelu(x M^T + bias)`` is the layer for pixel-major x [B, N, I].
    """

    def __init__(self, w_dim: int, in_channels: int, out_channels: int, *, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = EqualizedLinear(w_dim, (in_channels + out_channels) * rank)
        self.rank = rank

    def reset(self, *, generator: torch.Generator) -> None:
        """Reinitialize the weights."""
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(w.device.type, enabled=False):
            return self._matrix(w), self.bias * LRELU_GAIN

    def _matrix(self, w: torch.Tensor) -> torch.Tensor:
        out_channels, in_channels = self.weight.shape
        factors = self.affine(w)
        left = factors[:, : out_channels * self.rank].reshape(-1, out_channels, self.rank)
        right = factors[:, out_channels * self.rank :].reshape(-1, self.rank, in_channels)
        # compute the transpose directly: (A B)^T = B^T A^T
        product = torch.bmm(right.transpose(1, 2), left.transpose(1, 2))
        matrix = self.weight.t() * (1.0 + product * (1.0 / math.sqrt(self.rank)))
        norm = matrix.square().sum(dim=1, keepdim=True).sqrt()
        return matrix * (LRELU_GAIN / (norm + 1e-8))


class ModulatedRGB(nn.Module):
    """The ToRGB layer: M(w) = W diag(s), s = linear(w) / sqrt(I); no normalization, no activation.

    ``forward`` takes w [B, w_dim] and returns M^T [B, I, 3] and the bias [3].
    """

    def __init__(self, w_dim: int, in_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, in_channels))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = EqualizedLinear(w_dim, in_channels, bias=1.0)

    def reset(self, *, generator: torch.Generator) -> None:
        """Reinitialize the weights."""
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = self.affine(w) * (1.0 / math.sqrt(self.weight.shape[1]))
        return self.weight.t() * scale[:, :, None], self.bias
