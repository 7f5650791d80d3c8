"""The synthesis as the paper describes it, frame by frame and pixel by pixel: slow, and sharing no arithmetic with digan/models.

Used as an independent check in tests and as the baseline of benchmarks/generator.py. Takes the weights from a Generator's state dict.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def _linear(state: dict[str, torch.Tensor], name: str, x: torch.Tensor, multiplier: float = 1.0) -> torch.Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return x @ (weight * multiplier / math.sqrt(weight.shape[1])).t() + bias * multiplier


def _lrelu(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


def _coordinates(
    state: dict[str, torch.Tensor], name: str, w: torch.Tensor, motion: torch.Tensor, t: torch.Tensor, n: int
) -> torch.Tensor:
    content = _linear(state, f"{name}.content", w)
    frequencies = content[:, :256].reshape(-1, 128, 2) * math.sqrt(10.0)
    rates = _linear(state, f"{name}.motion", torch.cat([w, motion], dim=1))
    hidden = F.leaky_relu(rates * t[:, None] * 0.25, 0.01)
    hidden = _linear(state, f"{name}.phase.1", _lrelu(_linear(state, f"{name}.phase.0", hidden)))
    phase = content[:, 256:] + hidden
    axis = 2 * torch.arange(n) / n - 1
    v, u = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    points = torch.stack([u, v])[None, None]  # [1, 1, 2, n, n]; each frequency looks at points that drift on their own
    if (velocities := state.get("synthesis.velocities.linear.weight")) is not None:
        velocity = (motion @ velocities.t() / math.sqrt(velocities.shape[1])).unflatten(1, (-1, 2))
        moved = torch.einsum("kv,bvc->bkc", state[f"{name}.share"], velocity) * t[:, None, None]
        points = points - moved[..., None, None]
    angle = (frequencies[..., None, None] * points).sum(dim=2) + phase[:, :, None, None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _layer(state: dict[str, torch.Tensor], name: str, x: torch.Tensor, w: torch.Tensor, rank: int) -> torch.Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    out_channels, in_channels = weight.shape
    s = _linear(state, f"{name}.affine", w)
    left = s[:, : out_channels * rank].reshape(-1, out_channels, rank)
    right = s[:, out_channels * rank :].reshape(-1, rank, in_channels)
    matrix = weight * (1 + left @ right / math.sqrt(rank))
    matrix = matrix / (matrix.norm(dim=2, keepdim=True) + 1e-8)
    y = torch.einsum("boi,bihw->bohw", matrix, x) + bias[:, None, None]
    return _lrelu(y)


def _to_rgb(state: dict[str, torch.Tensor], name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    s = _linear(state, f"{name}.affine", w) / math.sqrt(weight.shape[1])
    return torch.einsum("boi,bihw->bohw", weight * s[:, None, :], x) + bias[:, None, None]


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


@torch.no_grad()
def plain_synthesis(
    state: dict[str, torch.Tensor],
    ws: torch.Tensor,
    motion: torch.Tensor,
    times: torch.Tensor,
    *,
    resolution: int,
    rank: int,
) -> torch.Tensor:
    """ws [B, w_count, 512], z_m [B, 512], times [B, T] -> [B, T, 3, R, R]; everything anew for every frame."""
    batch, count = times.shape
    # one long batch of single frames, as if every frame were a video of its own
    ws = ws[:, None].expand(-1, count, -1, -1).flatten(0, 1)
    motion = motion[:, None].expand(-1, count, -1).flatten(0, 1)
    t = times.flatten()
    x = rgb = None
    layer = 0
    for size in (2**p for p in range(2, resolution.bit_length())):
        block = f"synthesis.blocks.{size}"
        n = max(size, 32)
        parts = []
        if x is not None:
            parts.append(_double(x) if size > 32 else x)
        if size == 4 or size > 32:
            parts.append(_coordinates(state, f"{block}.features", ws[:, layer], motion, t, n))
        x = torch.cat(parts, dim=1)
        for i in range(sum(key.startswith(f"{block}.layers.") and key.endswith(".affine.weight") for key in state)):
            x = _layer(state, f"{block}.layers.{i}", x, ws[:, layer], rank)
            layer += 1
        colors = _to_rgb(state, f"{block}.to_rgb", x, ws[:, layer])
        if rgb is None:
            rgb = colors
        else:
            rgb = (_double(rgb) if size > 32 else rgb) + colors
    assert rgb is not None
    return rgb.view(batch, count, 3, resolution, resolution)
