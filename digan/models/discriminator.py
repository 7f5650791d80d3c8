"""Image and motion discriminator (DIGAN, Section 3.2, motion-sensitive discriminator); residual networks as in StyleGAN2.

lrelu's gain sqrt(2) is folded into the preceding weights; in residual blocks it cancels with the factor 1 / sqrt(2).

Legend: B batch, C channels, H, W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from digan.models.config import NetworkConfig
from digan.models.mapping import MappingNetwork
from digan.ops.layers import LRELU_GAIN, EqualizedConv, EqualizedLinear, lrelu, reset_parameters
from digan.ops.resample import blur
from digan.types import Scores

CLASS_LAYERS = 8
STATISTICS_GROUP = 4


class ResidualBlock(nn.Module):
    """3x3 and strided 3x3 convolution, plus a strided 1x1 skip; x [B, C_in, H, W] -> [B, C_out, H/2, W/2]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv(in_channels, in_channels, 3, padding=1)
        self.conv1 = EqualizedConv(in_channels, out_channels, 3, stride=2)
        self.skip = EqualizedConv(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.skip(blur(x, padding=1, stride=2), gain=math.sqrt(0.5))
        x = lrelu(self.conv0(x, gain=LRELU_GAIN))
        x = lrelu(self.conv1(blur(x, padding=2)))  # gain sqrt(2) times sqrt(1/2)
        return x + skip


def minibatch_deviation(x: torch.Tensor, *, batches: int = 1) -> torch.Tensor:
    """Minibatch standard deviation: x [N, C, H, W] -> [N, 1, H, W], one value per group of G = min(4, N) samples.

    Sample i is grouped with i + N/G, i + 2N/G, ...; N must be a multiple of G. With several ``batches``, x holds them one
    after the other, N samples each, and groups do not mix them.
    """
    total, _, height, width = x.shape
    count = total // batches
    group = min(STATISTICS_GROUP, count)
    y = x.float().reshape(batches, group, count // group, -1)
    y = (y - y.mean(dim=1, keepdim=True)).square().mean(dim=1)
    y = (y + 1e-8).sqrt().mean(dim=2)
    y = y[:, None].expand(-1, group, -1).reshape(total, 1, 1, 1)
    return y.expand(-1, 1, height, width).to(x.dtype)


class Discriminator(nn.Module):
    """Residual blocks down to 4x4, minibatch standard deviation and a logit; with classes, a projection discriminator."""

    def __init__(self, config: NetworkConfig, *, in_channels: int) -> None:
        super().__init__()
        resolutions = config.block_resolutions[:0:-1]  # R, ..., 8
        width = config.channels(4)
        self.from_rgb = EqualizedConv(in_channels, config.channels(config.resolution), 1)
        self.blocks = nn.ModuleList(ResidualBlock(config.channels(r), config.channels(r // 2)) for r in resolutions)
        self.mapping = (
            MappingNetwork(code_dim=0, classes=config.classes, width=width, layers=CLASS_LAYERS)
            if config.classes
            else None
        )
        self.conv = EqualizedConv(width + 1, width, 3, padding=1)
        self.dense = EqualizedLinear(width * 16, width, activate=True)
        self.out = EqualizedLinear(width, width if config.classes else 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None, *, batches: int = 1) -> torch.Tensor:
        """x [N, in_channels, R, R], labels int64 [N] or ``None`` -> logits float32 [N, 1]; ``batches`` as in ``minibatch_deviation``."""
        x = lrelu(self.from_rgb(x.contiguous(memory_format=torch.channels_last), gain=LRELU_GAIN))
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, minibatch_deviation(x, batches=batches)], dim=1)
        x = lrelu(self.conv(x, gain=LRELU_GAIN))
        x = self.out(self.dense(x.flatten(1))).float()
        if self.mapping is None:
            return x
        projected = (x * self.mapping(None, labels)).sum(dim=1, keepdim=True)
        return projected * (1.0 / math.sqrt(x.shape[1]))


class PairDiscriminator(nn.Module):
    """The image and the motion discriminator."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.image = Discriminator(config, in_channels=3)
        self.motion = Discriminator(config, in_channels=7)

    def reset(self, *, generator: torch.Generator) -> PairDiscriminator:
        """Reinitialize all weights; returns ``self``."""
        reset_parameters(self, generator=generator)
        return self

    def forward(
        self, images: torch.Tensor, motions: torch.Tensor, labels: torch.Tensor | None = None, *, batches: int = 1
    ) -> Scores:
        """images [2B, 3, R, R] and motions [B, 7, R, R] from ``split_pair``, labels int64 [B] or ``None`` -> ``Scores``.

        Several ``batches``, such as fake and real, may be concatenated; their minibatch statistics stay separate.
        """
        image_labels = None if labels is None else labels.repeat_interleave(2)
        return Scores(
            image=self.image(images, image_labels, batches=batches),
            motion=self.motion(motions, labels, batches=batches),
        )


def split_pair(frames: torch.Tensor, time_step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Discriminator inputs from frames [B, 2, 3, H, W] and dt [B]: images [2B, 3, H, W] and motions [B, 7, H, W].

    Images are in pair order, the earlier frame first. A motion concatenates both frames and a constant plane of dt.
    """
    batch, _, channels, height, width = frames.shape
    images = frames.reshape(2 * batch, channels, height, width)
    plane = time_step.to(frames.dtype).view(batch, 1, 1, 1).expand(batch, 1, height, width)
    return images, torch.cat([frames.reshape(batch, 2 * channels, height, width), plane], dim=1)
