"""Weights of detectors: read from a path or S3, checked by SHA-256, and never run as code unless that was asked for."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from digan.errors import UserError
from pipelines.storage import file_io

WHERE = (
    "put the Kinetics-400 I3D state dict of the PyTorch line in a file and give its path or s3:// address;"
    " or set evaluation.detector=transnetv2, a stand-in whose figures are not FVD"
)


def read(address: str, *, key: str, where: str, sha256: str = "") -> bytes:
    """The bytes at ``address`` (of params.yaml's ``key``); ``sha256`` is what they must add up to, where it is given."""
    if not address:
        raise UserError(f"{key} is empty: FVD is defined by I3D's trained weights; {where}")
    if file_io.is_remote(address):
        if not file_io.exists(address):
            raise UserError(f"{key}={address}: no such object; {where}")
        data = file_io.read_bytes(address)
    else:
        path = Path(address).expanduser()
        if not path.is_file():
            raise UserError(f"{key}={address}: no such file; without it there is no such figure; {where}")
        data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise UserError(
            f"{key}={address}: SHA-256 is {found}, evaluation.weights_sha256 says {sha256}; fetch the right file, or"
            " empty evaluation.weights_sha256"
        )
    return data


def state_dict(data: bytes, place: str) -> dict[str, torch.Tensor]:
    """Tensors by name out of a file's bytes, without running any code in it; ``place`` is named in errors."""
    if is_torchscript(data):
        raise UserError(
            f"{place}: is TorchScript, which carries code; give a state dict, or allow it by name with"
            " evaluation.detector=i3d_torchscript"
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes the restricted reader fails in any way: KeyError, IndexError, ...
        raise UserError(f"{place}: not a plain PyTorch state dict (no code is run to read it)") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{place}: not a state dict of tensors")
    return dict(state)


def is_torchscript(data: bytes) -> bool:
    """Whether the bytes are an archive with code, as ``torch.jit.save`` writes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def load_torchscript(data: bytes, place: str) -> torch.jit.ScriptModule:
    """The module with its code; only for detectors whose names say torchscript."""
    if not is_torchscript(data):
        raise UserError(f"{place}: is not TorchScript; a state dict goes with evaluation.detector=i3d")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{place}: TorchScript that cannot be loaded ({str(error).splitlines()[0][:120]})") from error


def check_keys(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], *, place: str, what: str) -> None:
    """``UserError`` naming the first missing, foreign or misshapen parameter."""
    missing, foreign = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or foreign:
        raise UserError(
            f"{place}: not {what}: {len(missing)} keys missing{_first(missing)}, {len(foreign)} foreign{_first(foreign)}"
        )
    wrong = [name for name in wanted if wanted[name].shape != given[name].shape]
    if wrong:
        shapes = f"{tuple(given[wrong[0]].shape)}, expected {tuple(wanted[wrong[0]].shape)}"
        raise UserError(f"{place}: {wrong[0]} has shape {shapes}: not {what}")
    damaged = [name for name, value in given.items() if value.is_floating_point() and not value.isfinite().all()]
    if damaged:
        raise UserError(f"{place}: {damaged[0]} holds values that are not finite; fetch the file again")


def digest(name: str, preprocessing: str, state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the network's name, its preprocessing and every weight (names, shapes, bytes; in order of names)."""
    sha = hashlib.sha256(f"{name}\n{preprocessing}\n".encode())
    for key in sorted(state):
        if not key.endswith("num_batches_tracked"):
            value = state[key].detach().cpu().float().contiguous()
            sha.update(f"{key} {tuple(value.shape)}\n".encode())
            sha.update(value.numpy().tobytes())
    return sha.hexdigest()


def digest_of_bytes(name: str, preprocessing: str, data: bytes) -> str:
    """The same for a file that is code and weights in one."""
    return hashlib.sha256(f"{name}\n{preprocessing}\n".encode() + hashlib.sha256(data).digest()).hexdigest()


def _first(names: list[str]) -> str:
    return f" (first: {names[0]})" if names else ""
