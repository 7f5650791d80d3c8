"""Losses of generator and discriminators, scalar tensors unless stated otherwise (DIGAN, Section 3.2, training objective)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from digan.types import Scores


def generator_loss(fake: Scores) -> torch.Tensor:
    """Non-saturating logistic loss, image and motion summed: softplus(-D(fake))."""
    return F.softplus(-fake.image).mean() + F.softplus(-fake.motion).mean()


def discriminator_loss_fake(fake: Scores) -> torch.Tensor:
    """softplus(D(fake)), image and motion summed."""
    return F.softplus(fake.image).mean() + F.softplus(fake.motion).mean()


def discriminator_loss_real(real: Scores) -> torch.Tensor:
    """softplus(-D(real)), image and motion summed."""
    return F.softplus(-real.image).mean() + F.softplus(-real.motion).mean()


def mismatch_loss(motion: torch.Tensor) -> torch.Tensor:
    """softplus(D(frames, dt)) of the motion logits [N] of real frames at a dt that is not theirs, which count as fakes.

    The published model has none; after the mismatched pairs of conditional GANs (Reed et al., ICML 2016).
    """
    return F.softplus(motion).mean()


def gradient_penalty(logits: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """R1's |d logit / d input|^2 per sample, [N]; ``inputs`` [N, C, H, W] must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(frames: torch.Tensor, ws: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """|d (frames . noise) / d w| per video, [B] (StyleGAN2's regulariser); noise [B, T, 3, H, W] ~ N(0, 1), ws [B, w_count, 512]."""
    scaled = noise / math.sqrt(frames.shape[1] * frames.shape[3] * frames.shape[4])
    (gradient,) = torch.autograd.grad((frames * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
