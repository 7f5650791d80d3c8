"""I3D: Inception-v1 inflated to three dimensions (Carreira and Zisserman, 2017, figure 3), the detector of FVD.

Legend: B batch, T times, C channels, H, W pixels. Parameter names are those of the PyTorch weights used by
VideoGPT and DIGAN, so that their state dict loads unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

CLASSES = 400
RESOLUTION = 224
MIN_FRAMES = 10
PREPROCESSING = "i3d-1: bytes/255, bilinear half-pixel, short side 224 (long side up), centre crop, [-1, 1]"

# Inception modules between the poolings: name -> input and the widths (1x1 | 1x1, 3x3 | 1x1, 3x3 | pool, 1x1).
_MIXED: dict[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}


def preprocessing(*, squash: bool = False) -> str:
    """Description of the preprocessing, part of cache keys."""
    return "i3d-1: bytes/255, bilinear half-pixel, both sides squashed to 224, [-1, 1]" if squash else PREPROCESSING


def preprocess(videos: torch.Tensor, resolution: int = RESOLUTION, *, squash: bool = False) -> torch.Tensor:
    """Resize the short side to ``resolution`` and crop the center, or ``squash`` both sides; scale to [-1, 1].

    ``videos`` is uint8 [B, T, 3, H, W]; returns float32 [B, 3, T, resolution, resolution].
    """
    assert videos.dtype == torch.uint8 and videos.ndim == 5, (videos.dtype, tuple(videos.shape))
    batch, times, channels, height, width = videos.shape
    scale = resolution / min(height, width)
    size = (resolution, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), resolution)
    size = (resolution, resolution) if squash else size
    frames = videos.reshape(batch * times, channels, height, width).float() / 255
    frames = functional.interpolate(frames, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    frames = frames[..., top : top + resolution, left : left + resolution]
    return (frames * 2 - 1).reshape(batch, times, channels, resolution, resolution).transpose(1, 2)


def _pad_same(x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int]) -> torch.Tensor:
    """TensorFlow's SAME padding with zeros over the last three axes: the odd element goes to the end."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[-3:]), reversed(kernel), reversed(stride), strict=True):
        total = max((math.ceil(size / s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads) if any(pads) else x


class _Unit(nn.Module):
    """Convolution without bias, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs)  # eps 1e-5, as in the PyTorch port; the TensorFlow original has 1e-3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn(self.conv3d(_pad_same(x, self.kernel, self.stride))))


class _Mixed(nn.Module):
    """Inception module: four branches, concatenated along the channels."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], 1)
        self.b1a = _Unit(inputs, widths[1], 1)
        self.b1b = _Unit(widths[1], widths[2], 3)
        self.b2a = _Unit(inputs, widths[3], 1)
        self.b2b = _Unit(widths[3], widths[4], 3)
        self.b3b = _Unit(inputs, widths[5], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


def _max_pool(x: torch.Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> torch.Tensor:
    # zero padding equals minus infinity here, since the inputs are outputs of a ReLU
    return functional.max_pool3d(_pad_same(x, kernel, stride), kernel, stride)


class _Logits(nn.Module):
    """The last 1x1 convolution, with bias and without activation."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv3d(x)


class I3D(nn.Module):
    """Video to class logits, averaged over time.

    Input float32 [B, 3, T, 224, 224] in [-1, 1] with T >= 10 (see ``preprocess``); output [B, classes].
    As a detector, use it in evaluation mode (``.eval()``).
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.logits = _Logits(1024, classes)
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        for name, (inputs, widths) in _MIXED.items():
            self.add_module(name, _Mixed(inputs, widths))

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        assert videos.shape[2] >= MIN_FRAMES, f"I3D needs {MIN_FRAMES} frames or more, not {videos.shape[2]}"
        x = self.Conv3d_1a_7x7(videos)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        for name in _MIXED:
            if name == "Mixed_4b":
                x = _max_pool(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                x = _max_pool(x, (2, 2, 2), (2, 2, 2))
            x = self.get_submodule(name)(x)
        # 7x7 as in the paper; smaller inputs (the untrained stand-in) leave less
        window = (2, min(7, x.shape[-2]), min(7, x.shape[-1]))
        x = self.logits(functional.avg_pool3d(x, window, stride=1))
        return x.mean(dim=(2, 3, 4))


def untrained(seed: int) -> I3D:
    """An I3D with He-initialized random weights from ``seed``. Distances on its features are not FVD."""
    network = I3D()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
    return network.eval()
