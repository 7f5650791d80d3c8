"""Loaders of detectors that come as TorchScript: code and weights in one file, run only if params.yaml names it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from digan.metrics.networks import i3d
from pipelines.detectors import weights
from pipelines.detectors.networks import NetworkEmbedding

TRANSFORMER_FRAMES = 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Run = Callable[[Any, torch.Tensor], torch.Tensor]


class ScriptedEmbedding(NetworkEmbedding):
    """The embedding of a TorchScript file; pickled as the file's bytes, since such a network cannot be pickled."""

    def __init__(self, data: bytes, setting: str, run: Run) -> None:
        super().__init__(weights.load_torchscript(data, setting), run)
        self._arguments = data, setting, run

    def __reduce__(self) -> tuple[Any, ...]:
        return ScriptedEmbedding, self._arguments


def load_i3d(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """I3D of the StyleGAN-V line, which scales 0..255 to [-1, 1] itself; with ``squash`` it also resizes to 224 itself."""
    preprocessing = f"{resize}; rescale, resize and features by the file"
    return _loaded("i3d_torchscript", preprocessing, data, setting, _i3d_squash if resize == "squash" else _i3d_crop)


def load_inception(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """The Inception network of the StyleGAN line, on each frame."""
    return _loaded("inception_frames", "uint8 frames, resized by the file", data, setting, _inception_frames)


def load_video_transformer(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """Any traced video transformer (such as VideoMAE) from [B, 3, 16, 224, 224] to [B, D] or tokens [B, N, D].

    Its features depend less on single frames than I3D's (Ge et al., 2024).
    """
    preprocessing = "16 evenly spread frames, short side 224, centre crop, ImageNet's mean and deviation"
    return _loaded("video_transformer", preprocessing, data, setting, _video_transformer)


def _loaded(name: str, preprocessing: str, data: bytes, setting: str, run: Run) -> tuple[NetworkEmbedding, str]:
    text = f"{name}\n{name}-1: {preprocessing}\n".encode()
    return ScriptedEmbedding(data, setting, run), hashlib.sha256(text + hashlib.sha256(data).digest()).hexdigest()


def _i3d_squash(network: Any, videos: torch.Tensor) -> torch.Tensor:
    return network(videos.transpose(1, 2).float(), rescale=True, resize=True, return_features=True)


def _i3d_crop(network: Any, videos: torch.Tensor) -> torch.Tensor:
    return network(i3d.preprocess(videos), rescale=False, resize=False, return_features=True)


def _inception_frames(network: Any, videos: torch.Tensor) -> torch.Tensor:
    return network(videos.flatten(0, 1), return_features=True)


def _video_transformer(network: Any, videos: torch.Tensor) -> torch.Tensor:
    chosen = torch.linspace(0, videos.shape[1] - 1, TRANSFORMER_FRAMES).round().long()
    x = (i3d.preprocess(videos[:, chosen]) + 1) / 2
    mean, std = (torch.tensor(v, device=x.device).reshape(3, 1, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    found = network((x - mean) / std)
    return functional.adaptive_avg_pool1d(found.transpose(1, 2), 1)[..., 0] if found.ndim == 3 else found
