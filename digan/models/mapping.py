"""The mapping network (z, c) -> w of StyleGAN2, class-conditional as in StyleGAN2-ADA."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from digan.ops.layers import EqualizedLinear

MAPPING_LR_MULTIPLIER = 0.01
AVERAGE_DECAY = 0.995


def normalize(v: torch.Tensor) -> torch.Tensor:
    """v / sqrt(mean(v^2) + 1e-8) over the last dimension."""
    return v * (v.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """Fully connected layers from the normalized code and, with classes, the embedded class to w [B, width].

    ``code_dim`` 0: only the class is mapped (for the projection discriminator). The buffer ``average`` is w_avg, the
    running mean of w.
    """

    average: torch.Tensor

    def __init__(self, *, code_dim: int, classes: int, width: int, layers: int) -> None:
        super().__init__()
        self.classes = classes
        self.embed = EqualizedLinear(classes, width) if classes else None
        fan_in = code_dim + (width if classes else 0)
        self.layers = nn.ModuleList(
            EqualizedLinear(fan_in if i == 0 else width, width, lr_multiplier=MAPPING_LR_MULTIPLIER, activate=True)
            for i in range(layers)
        )
        if code_dim:
            self.register_buffer("average", torch.zeros(width))

    def forward(self, code: torch.Tensor | None, labels: torch.Tensor | None) -> torch.Tensor:
        """z [B, code_dim] or ``None``, labels int64 [B] or ``None`` -> w [B, width]."""
        parts = [] if code is None else [normalize(code)]
        if self.embed is not None:
            assert labels is not None, "a class-conditional network needs labels"
            one_hot = F.one_hot(labels, self.classes).to(self.embed.weight.dtype)
            parts.append(normalize(self.embed(one_hot).float()))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x.float()

    def truncate(self, w: torch.Tensor, psi: float) -> torch.Tensor:
        """w_avg + psi (w - w_avg)."""
        return w if psi == 1.0 else self.average.lerp(w, psi)

    @torch.no_grad()
    def update_w_avg(self, mean_w: torch.Tensor) -> None:
        """w_avg <- 0.995 w_avg + 0.005 mean(w); called by the training step only."""
        self.average.lerp_(mean_w, 1.0 - AVERAGE_DECAY)
