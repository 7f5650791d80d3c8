"""Fourier features of the coordinates: w gives the frequencies; time and motion code shift the phases.

DIGAN, Section 3.2, motion-aware generator: z_m and t enter the network only here.

a = P (u, v) + phase(t), features = [sin a, cos a]. Two exact optimizations:
- On a grid, P (u, v) is a sum of a term per column and one per row, so n x n pixels need sines of only 2 n values.
- Time only shifts the phases, which rotates (sin, cos); the rotation is applied to the matrix of the layer that follows.

Beyond the paper, coordinates may drift (``Velocities``): a velocity of the motion code moves the plane, for a learned share
of each frequency. A moving object needs the phase of every frequency to move in step with every other's, which the
motion network has to learn and which drift gives from the start. It only shifts phases, so both optimizations hold.

Legend: B videos, T times, K = 128 frequencies, V velocities, n grid size, O output channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from digan.ops.layers import EqualizedLinear

FREQUENCIES = 128
FREQUENCY_SCALE = math.sqrt(10.0)
TIME_SCALE = 0.25
MOTION_SLOPE = 0.01


def grid_axis(n: int, *, extent: float = 1.0, shift: float = 0.0, device: torch.device | None = None) -> torch.Tensor:
    """Coordinates u(j) = (2 j / n - 1) * extent + shift for j = 0 ... n - 1; float32 [n].

    Training frames span [-1, 1); an ``extent`` above 1 extrapolates beyond them.
    """
    return (2.0 * torch.arange(n, dtype=torch.float32, device=device) / n - 1.0) * extent + shift


@dataclass(frozen=True, kw_only=True)
class SinusoidParameters:
    """Parameters of the features sin(P (u, v) + phase): ``frequencies`` P [B, K, 2] for (u, v), ``phases`` [B, T, K]."""

    frequencies: torch.Tensor
    phases: torch.Tensor


class Velocities(nn.Module):
    """The velocities of the coordinates, linear in z_m and without a bias: opposite directions are equally likely."""

    def __init__(self, code_dim: int, count: int) -> None:
        super().__init__()
        self.linear = EqualizedLinear(code_dim, 2 * count, bias=None)

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        """z_m [B, 512] -> velocities [B, V, 2] of (u, v) per unit of time; the picture is 2 wide."""
        velocities: torch.Tensor = self.linear(motion)
        return velocities.unflatten(1, (-1, 2))


class CoordinateFeatures(nn.Module):
    """Maps w, z_m and t to the frequencies and phases of a block's coordinate features.

    With ``drift`` velocities, velocity v moves frequency k by the learned share ``share[k, v]``; at the start, all
    frequencies move, each with one velocity.
    """

    def __init__(self, w_dim: int, drift: int = 0) -> None:
        super().__init__()
        self.content = EqualizedLinear(w_dim, FREQUENCIES * 3)
        self.motion = EqualizedLinear(w_dim * 2, FREQUENCIES)
        self.phase = nn.ModuleList(
            [EqualizedLinear(FREQUENCIES, FREQUENCIES, activate=True), EqualizedLinear(FREQUENCIES, FREQUENCIES)]
        )

        turns = torch.arange(FREQUENCIES) % max(drift, 1)
        self.share = nn.Parameter(F.one_hot(turns, drift).float()) if drift else None

    def forward(
        self, w: torch.Tensor, motion: torch.Tensor, times: torch.Tensor, velocities: torch.Tensor | None = None
    ) -> SinusoidParameters:
        """w [B, 512], z_m [B, 512], times [B, T], velocities [B, V, 2] or ``None`` -> ``SinusoidParameters``."""
        content = self.content(w).float()
        frequencies = content[:, : FREQUENCIES * 2].reshape(-1, FREQUENCIES, 2) * FREQUENCY_SCALE
        rates = self.motion(torch.cat([w, motion], dim=1)).float()
        hidden = F.leaky_relu(rates[:, None, :] * times[:, :, None] * TIME_SCALE, MOTION_SLOPE)
        for layer in self.phase:
            hidden = layer(hidden)
        phases = content[:, None, FREQUENCIES * 2 :] + hidden.float()
        if velocities is not None:
            drift = torch.einsum("bki,bvi,kv->bk", frequencies, -velocities, self.share)  # phase per unit of time
            phases = phases + drift[:, None, :] * times[:, :, None]
        return SinusoidParameters(frequencies=frequencies, phases=phases)


class _GridSinusoids(torch.autograd.Function):
    """sin and cos of across[j] + down[i] for all pixels (i, j), by the angle addition formulas.

    Forward and backward take one pass over the pixels each; backward needs only the saved result.
    """

    @staticmethod
    def forward(ctx: Any, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        sin_x, cos_x = across.sin()[:, None], across.cos()[:, None]  # [B, 1, columns, K]
        sin_y, cos_y = down.sin()[:, :, None], down.cos()[:, :, None]  # [B, rows, 1, K]
        both = torch.cat([sin_x, cos_x], dim=-1) * torch.cat([cos_y, cos_y], dim=-1)
        both.addcmul_(torch.cat([cos_x, -sin_x], dim=-1), torch.cat([sin_y, sin_y], dim=-1))
        ctx.save_for_backward(both)
        return both

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (both,) = ctx.saved_tensors
        sines, cosines = both.split(FREQUENCIES, dim=-1)
        of_sines, of_cosines = gradient.split(FREQUENCIES, dim=-1)
        angles = torch.addcmul(of_sines * cosines, of_cosines, sines, value=-1.0)
        return angles.sum(dim=1), angles.sum(dim=2)


def static_features(sinusoids: SinusoidParameters, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """[sin a0, cos a0] for a0 = P (u, v), pixel-major [B, n_rows * n_columns, 2 K]; independent of time.

    ``columns`` [n_columns] holds u from left to right, ``rows`` [n_rows] v from top to bottom.
    """
    across = sinusoids.frequencies[:, None, :, 0] * columns[:, None]  # [B, n_columns, K]
    down = sinusoids.frequencies[:, None, :, 1] * rows[:, None]
    return _GridSinusoids.apply(across, down).flatten(1, 2)


def rotate_phases(matrix: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Rotate M^T [B, 2 K, O] so that static features times the result equal features at each time times M^T.

    Returns [B, 2 K, T * O], with times outermost.

    sin(a0 + p) = sin a0 cos p + cos a0 sin p and cos(a0 + p) = cos a0 cos p - sin a0 sin p, with p = phases [B, T, K].
    """
    of_sin, of_cos = matrix[:, :FREQUENCIES, None], matrix[:, FREQUENCIES:, None]  # [B, K, 1, O]
    sin_p, cos_p = phases.sin().transpose(1, 2)[..., None], phases.cos().transpose(1, 2)[..., None]  # [B, K, T, 1]
    rotated = torch.cat([of_sin * cos_p - of_cos * sin_p, of_sin * sin_p + of_cos * cos_p], dim=1)
    return rotated.flatten(2)
