"""All losses and penalties; ``step.py`` says when each is used (DIGAN, Section 3.2, training objective).

Each returns a scalar tensor unless stated otherwise.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from digan.types import Scores


def generator_loss(fake: Scores) -> torch.Tensor:
    """Non-saturating logistic loss softplus(-D(fake)), summed over both discriminators (Goodfellow et al., 2014)."""
    return F.softplus(-fake.image).mean() + F.softplus(-fake.motion).mean()


def discriminator_loss_fake(fake: Scores) -> torch.Tensor:
    """Logistic loss softplus(D(fake)), summed over both discriminators."""
    return F.softplus(fake.image).mean() + F.softplus(fake.motion).mean()


def discriminator_loss_real(real: Scores) -> torch.Tensor:
    """Logistic loss softplus(-D(real)), summed over both discriminators."""
    return F.softplus(-real.image).mean() + F.softplus(-real.motion).mean()


def mismatch_loss(motion: torch.Tensor) -> torch.Tensor:
    """Logistic loss softplus(D(frames, dt)) of motion logits [N, 1] of real frames with a wrong dt, treated as fake.

    Not part of the published model; follows the mismatched pairs of conditional GANs (Reed et al., ICML 2016).
    """
    return F.softplus(motion).mean()


def gradient_penalty(logits: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Squared gradient norm |d logit / d input|^2 per sample, [N], for R1 (Mescheder et al., 2018).

    ``inputs`` [N, C, H, W] must require gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(frames: torch.Tensor, ws: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """|d (frames . noise) / d w| per video, [B], for path length regularization (StyleGAN2, Section 3.2).

    ``frames`` and ``noise`` ~ N(0, 1) are [B, T, 3, H, W], ``ws`` [B, w_count, 512].
    """
    scaled = noise / math.sqrt(frames.shape[1] * frames.shape[3] * frames.shape[4])
    (gradient,) = torch.autograd.grad((frames * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
