"""C3D (Tran et al., 2015, figure 3): the classifier for the Inception Score of videos; weights are supplied by the user.

Legend: B batch, T times (16), C channels, H, W pixels. Parameter names are those of the common PyTorch port (conv1 ...
conv5b, fc6, fc7, fc8). Trained on Sports-1M and fine-tuned on UCF-101, it has 101 classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

FRAMES = 16
SCALED, CROP = (128, 171), 112
MEAN_BGR = (90.0, 98.0, 102.0)  # of Sports-1M, for weights that do not come with a mean
PREPROCESSING = (
    "c3d-1: 16 evenly spread frames, BGR 0..255, bilinear half-pixel to 128x171, minus mean, centre crop 112"
)

# name -> (inputs, outputs) in units of 64 channels, and whether pooling follows
_CONVOLUTIONS: tuple[tuple[str, int, int, bool], ...] = (
    ("conv1", 0, 1, True),
    ("conv2", 1, 2, True),
    ("conv3a", 2, 4, False),
    ("conv3b", 4, 4, True),
    ("conv4a", 4, 8, False),
    ("conv4b", 8, 8, True),
    ("conv5a", 8, 8, False),
    ("conv5b", 8, 8, True),
)


class C3D(nn.Module):
    """Video to class logits: float32 [B, 3, 16, 112, 112] (see ``preprocess``) -> [B, classes]. ``width`` is 64; less in tests."""

    def __init__(self, classes: int = 101, width: int = 64) -> None:
        super().__init__()
        for name, inputs, outputs, _ in _CONVOLUTIONS:
            self.add_module(name, nn.Conv3d(inputs * width or 3, outputs * width, 3, padding=1))
        self.fc6 = nn.Linear(8 * width * 16, 64 * width)
        self.fc7 = nn.Linear(64 * width, 64 * width)
        self.fc8 = nn.Linear(64 * width, classes)

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        assert videos.shape[1:] == (3, FRAMES, CROP, CROP), tuple(videos.shape)
        x = videos
        for name, _, _, pooled in _CONVOLUTIONS:
            x = functional.relu(self.get_submodule(name)(x))
            if pooled and name == "conv1":
                x = functional.max_pool3d(x, (1, 2, 2), (1, 2, 2))
            elif pooled:
                padding = (0, 1, 1) if name == "conv5b" else 0
                x = functional.max_pool3d(x, 2, 2, padding=padding)
        x = functional.relu(self.fc6(x.flatten(1)))
        return self.fc8(functional.relu(self.fc7(x)))


def preprocess(videos: torch.Tensor, mean: torch.Tensor | None = None) -> torch.Tensor:
    """uint8 [B, T, 3, H, W] with T >= 16 -> float32 [B, 3, 16, 112, 112]. ``mean`` is [3] or [3, 16, 128, 171], BGR."""
    assert videos.dtype == torch.uint8 and videos.ndim == 5 and videos.shape[1] >= FRAMES, tuple(videos.shape)
    chosen = torch.linspace(0, videos.shape[1] - 1, FRAMES, device=videos.device).round().long()
    frames = videos[:, chosen].flip(2)
    frames = functional.interpolate(frames.flatten(0, 1).float(), size=SCALED, mode="bilinear", align_corners=False)
    x = frames.unflatten(0, (len(videos), FRAMES)).transpose(1, 2)
    mean = torch.tensor(MEAN_BGR) if mean is None else mean
    x = x - (mean if mean.ndim == 4 else mean.reshape(3, 1, 1, 1)).to(x)
    top, left = (SCALED[0] - CROP) // 2, (SCALED[1] - CROP) // 2
    return x[..., top : top + CROP, left : left + CROP]
