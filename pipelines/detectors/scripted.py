"""Detectors that come as TorchScript: code and weights in one file, run only where params.yaml names them.

``i3d_torchscript`` is the network of the StyleGAN-V line with a calling convention of its own. ``inception_frames`` is
the Inception network of the StyleGAN line, frame by frame. ``video_transformer`` is any traced video transformer (such as
VideoMAE) that takes [B, 3, 16, 224, 224], normalised as ImageNet is, and returns [B, D]: its features look less at single
pictures than I3D's (Ge et al. 2024).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from digan.metrics.networks import i3d
from pipelines.detectors import weights
from pipelines.detectors.networks import LoadedNetwork

TRANSFORMER_FRAMES = 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Scripted:
    """What calls the file's network; it travels to other processes as the file's bytes."""

    data: bytes
    place: str
    kind: str
    _network: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}

    def load(self) -> Scripted:
        """The same, with the network in memory and on this process's device."""
        if self._network is None:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            self._network = weights.load_torchscript(self.data, self.place).to(device)
        return self

    def __call__(self, videos: torch.Tensor) -> torch.Tensor:
        self.load()
        runs = {"squash": self._squash, "crop": self._crop, "frames": self._frames, "transformer": self._transformer}
        return runs[self.kind](videos.to("cuda" if torch.cuda.is_available() else "cpu"))

    def _squash(self, videos: torch.Tensor) -> torch.Tensor:
        x = videos.transpose(1, 2).float()
        return self._network(x, rescale=True, resize=True, return_features=True)

    def _crop(self, videos: torch.Tensor) -> torch.Tensor:
        return self._network(i3d.preprocess(videos), rescale=False, resize=False, return_features=True)

    def _frames(self, videos: torch.Tensor) -> torch.Tensor:
        return self._network(videos.flatten(0, 1), return_features=True)

    def _transformer(self, videos: torch.Tensor) -> torch.Tensor:
        chosen = torch.linspace(0, videos.shape[1] - 1, TRANSFORMER_FRAMES).round().long()
        x = (i3d.preprocess(videos[:, chosen]) + 1) / 2
        mean, std = (torch.tensor(v, device=x.device).reshape(3, 1, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        found = self._network((x - mean) / std)
        return functional.adaptive_avg_pool1d(found.transpose(1, 2), 1)[..., 0] if found.ndim == 3 else found


def load_i3d(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """I3D of the StyleGAN-V line, which scales 0..255 to [-1, 1] itself; with ``squash`` it also resizes to 224 itself."""
    return _loaded("i3d_torchscript", f"{resize}; rescale, resize and features by the file", data, place, resize)


def load_inception_frames(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """The Inception network of the StyleGAN line, on each frame."""
    return _loaded("inception_frames", "uint8 frames, resized by the file", data, place, "frames")


def load_video_transformer(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """Any traced video transformer that takes [B, 3, 16, 224, 224]."""
    said = "16 evenly spread frames, short side 224, centre crop, ImageNet's mean and deviation"
    return _loaded("video_transformer", said, data, place, "transformer")


def _loaded(name: str, preprocessing: str, data: bytes, place: str, kind: str) -> LoadedNetwork:
    return LoadedNetwork(
        embed=Scripted(data, place, kind).load(),
        digest=weights.digest_of_bytes(name, f"{name}-1: {preprocessing}", data),
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )
