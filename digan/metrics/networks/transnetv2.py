"""The convolutional trunk of TransNetV2 (Soucek and Lokoc, 2020), a small trained video network, as a feature extractor.

Three stages of two dilated blocks; a block has four parallel (2+1)-D convolutions with dilations 1, 2, 4 and 8 in time,
so that the 16 frames of a clip are in its field of view. It is trained to detect shot changes, not actions: distances on
its features are not FVD. A block's four spatial convolutions share their input and run as one, over all frames at once.

Legend: B batch, T times, C channels, H, W pixels. Parameter names are those of the published state dict.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

DILATIONS = (1, 2, 4, 8)
WIDTHS = (16, 32, 64)  # channels of each dilation's branch, stage by stage
PREFIX = "SDDCNN."
HEIGHT, WIDTH = 27, 27  # square like the clips, at half the cost of 27 x 48
OFFSET = 1e-2
CLIPS_AT_ONCE = 4  # larger batches exceed the CPU cache and are a sixth slower
PREPROCESSING = "transnetv2-1: bytes/255, bilinear antialiased to 27x27; log(1e-2 + mean and mean change of 3 stages)"


class _Branch(nn.Module):
    """One dilation's weights: a 1x3x3 and a 3x1x1 convolution."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv3d(inputs, 2 * width, (1, 3, 3), bias=False), nn.Conv3d(2 * width, width, (3, 1, 1), bias=False)]
        )


class _DilatedBlock(nn.Module):
    """Four parallel dilations, followed by batch normalization."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        for dilation in DILATIONS:
            self.add_module(f"Conv3D_{dilation}", _Branch(inputs, width))
        self.bn = nn.BatchNorm3d(4 * width, eps=1e-3)

    def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
        """[B T, C, H, W] -> [B T, 4 width, H, W]; normalization is folded into the temporal convolutions."""
        layers = [self.get_submodule(f"Conv3D_{dilation}.layers") for dilation in DILATIONS]
        spatial = torch.cat([pair[0].weight[:, :, 0] for pair in layers])  # type: ignore[index]
        x = functional.conv2d(x, spatial.contiguous(memory_format=torch.channels_last), padding=1)
        flat, channels, height, width = x.shape
        # [B, C, T, H W]: a view of the channels-last result
        x = x.permute(0, 2, 3, 1).reshape(flat // times, times, height * width, channels).permute(0, 3, 1, 2)
        assert self.bn.running_mean is not None and self.bn.running_var is not None
        gain = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        shift = self.bn.bias - gain * self.bn.running_mean
        outputs = []
        for i, (dilation, pair) in enumerate(zip(DILATIONS, layers, strict=True)):
            part = slice(i * self.width, (i + 1) * self.width)
            weight = pair[1].weight[..., 0] * gain[part, None, None, None]  # type: ignore[index]
            branch = x[:, 2 * i * self.width : 2 * (i + 1) * self.width]
            convolved = functional.conv2d(branch, weight, shift[part], padding=(dilation, 0), dilation=(dilation, 1))
            outputs.append(convolved)
        joined = torch.cat(outputs, dim=1).permute(0, 2, 3, 1).reshape(flat, height, width, 4 * self.width)
        return joined.permute(0, 3, 1, 2)


class _Stage(nn.Module):
    """Two blocks with a shortcut around the second, then 2x2 average pooling."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([_DilatedBlock(inputs, width), _DilatedBlock(4 * width, width)])

    def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
        shortcut = functional.relu(self.DDCNN[0](x, times))
        x = functional.relu(self.DDCNN[1](shortcut, times)) + shortcut
        return functional.avg_pool2d(x, 2)


class TransNetV2Trunk(nn.Module):
    """Video to the outputs of its stages.

    Input float32 [B, T, 3, H, W] in [0, 1], any T >= 1, H and W >= 8 (trained at 27 x 48). Output for each stage used:
    float32 [B, T, C, h, w], C = 64, 128, 256 and h, w halved stage by stage.
    """

    def __init__(self, stages: int = 3) -> None:
        super().__init__()
        inputs = [3, *(4 * width for width in WIDTHS)]
        self.SDDCNN = nn.ModuleList([_Stage(inputs[i], WIDTHS[i]) for i in range(stages)])

    def forward(self, videos: torch.Tensor) -> list[torch.Tensor]:
        batch, times = videos.shape[:2]
        x = videos.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        outputs = []
        for stage in self.SDDCNN:
            x = stage(x, times)
            outputs.append(x.unflatten(0, (batch, times)))
        return outputs


def trunk_weights(state: Mapping[str, torch.Tensor], stages: int = 3) -> dict[str, torch.Tensor]:
    """The trunk's entries of the published state dict, without its classifier."""
    wanted = tuple(f"{PREFIX}{i}." for i in range(stages))
    return {name: value for name, value in state.items() if name.startswith(wanted)}


def preprocess(videos: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize and scale: uint8 [B, T, 3, H, W] -> float32 [B, T, 3, height, width] in [0, 1].

    Bilinear, antialiased when downsampling.
    """
    assert videos.dtype == torch.uint8 and videos.ndim == 5, (videos.dtype, tuple(videos.shape))
    frames = videos.flatten(0, 1).float() / 255
    frames = functional.interpolate(frames, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return frames.unflatten(0, videos.shape[:2])


def features(network: TransNetV2Trunk, videos: torch.Tensor) -> torch.Tensor:
    """One feature vector per clip, [B, 896]: logs of each channel's mean and of its mean change in time.

    ``videos`` is uint8 [B, T, 3, H, W], T >= 2. Means of the three stages' maps over space and time, then means of
    |map(t + 1) - map(t)|; the logarithm keeps a few strong channels from dominating. docs/evaluation.md has the
    comparison behind this choice.
    """
    return torch.cat([_features(network, part) for part in videos.split(CLIPS_AT_ONCE)])


def _features(network: TransNetV2Trunk, videos: torch.Tensor) -> torch.Tensor:
    maps = network(preprocess(videos, HEIGHT, WIDTH))
    means = [stage.mean(dim=(1, 3, 4)) for stage in maps]
    changes = [(stage[:, 1:] - stage[:, :-1]).abs().mean(dim=(1, 3, 4)) for stage in maps]
    return torch.log(torch.cat(means + changes, dim=1) + OFFSET)
