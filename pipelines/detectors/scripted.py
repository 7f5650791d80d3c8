"""Detectors that come as TorchScript: code and weights in one file, run only where params.yaml names them.

``i3d_torchscript`` is the network of the StyleGAN-V line with a calling convention of its own. ``inception_frames`` is
the Inception network of the StyleGAN line, frame by frame. ``video_transformer`` is any traced video transformer (such as
VideoMAE) that takes [B, 3, 16, 224, 224], normalised as ImageNet is, and returns [B, D]: its features look less at single
pictures than I3D's (Ge et al. 2024).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from digan.metrics.networks import i3d
from pipelines.detectors import weights

TRANSFORMER_FRAMES = 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Embed = Callable[[torch.Tensor], torch.Tensor]


def i3d_torchscript(data: bytes, place: str, device: torch.device, resize: str) -> dict[str, Any]:
    """The fields of the detector. The file scales 0..255 to [-1, 1] itself, and squashes to 224 where it resizes itself."""
    network = weights.load_torchscript(data, place).to(device)

    def embed(videos: torch.Tensor) -> torch.Tensor:
        moved = videos.to(device)
        if resize == "squash":
            x = moved.transpose(1, 2).float()
            return network(x, rescale=True, resize=True, return_features=True)
        return network(i3d.preprocess(moved), rescale=False, resize=False, return_features=True)

    said = f"i3d_torchscript-1: {resize}; rescale, resize and features by the file"
    return _fields("i3d_torchscript", "fvd", said, data, embed)


def companion(name: str, data: bytes, place: str, device: torch.device) -> dict[str, Any]:
    """The fields of ``inception_frames`` (features of each frame) or ``video_transformer``."""
    network = weights.load_torchscript(data, place).to(device)

    def frames(videos: torch.Tensor) -> torch.Tensor:
        return network(videos.flatten(0, 1).to(device), return_features=True)

    def transformer(videos: torch.Tensor) -> torch.Tensor:
        chosen = torch.linspace(0, videos.shape[1] - 1, TRANSFORMER_FRAMES).round().long()
        x = (i3d.preprocess(videos[:, chosen].to(device)) + 1) / 2
        mean, std = (torch.tensor(v, device=x.device).reshape(3, 1, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        found = network((x - mean) / std)
        return functional.adaptive_avg_pool1d(found.transpose(1, 2), 1)[..., 0] if found.ndim == 3 else found

    if name == "inception_frames":
        return _fields(name, "fid_frames", "inception_frames-1: uint8 frames, resized by the file", data, frames)
    said = "video_transformer-1: 16 evenly spread frames, short side 224, centre crop, ImageNet's mean and deviation"
    return _fields(name, "frechet_video_transformer", said, data, transformer)


def _fields(network: str, metric: str, preprocessing: str, data: bytes, embed: Embed) -> dict[str, Any]:
    return {
        "network": network,
        "metric_name": metric,
        "digest": weights.digest_of_bytes(network, preprocessing, data),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "embed": embed,
    }
