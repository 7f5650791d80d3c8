"""Weights of detectors: read from a path or S3, and never run as code unless params.yaml asks for that.

``setting`` is the text that names the weights in errors, such as ``evaluation.weights=i3d.pt``.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping

import torch

from digan.errors import UserError
from pipelines.storage import file_io


def read(address: str, setting: str, remedy: str) -> bytes:
    """Return the bytes at ``address``. Errors: ``UserError`` with ``remedy`` if there is no such file."""
    try:
        return file_io.read_bytes(address)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{setting}: no such file; {remedy}") from None


def state_dict(data: bytes, setting: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name, without running any code in it. Errors: ``UserError``."""
    if is_torchscript(data):
        remedy = "give a state dict, or allow it by name with evaluation.detector=i3d_torchscript"
        raise UserError(f"{setting}: is TorchScript, which carries code; {remedy}")
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many types (KeyError, IndexError, ...) for unknown bytes
        raise UserError(f"{setting}: not a plain PyTorch state dict (no code is run to read it)") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{setting}: not a state dict of tensors")
    return dict(state)


def is_torchscript(data: bytes) -> bool:
    """Whether the bytes are an archive with code, as ``torch.jit.save`` writes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def load_torchscript(data: bytes, setting: str) -> torch.jit.ScriptModule:
    """Return the network with its code, which runs; only for detectors that are meant to be TorchScript."""
    if not is_torchscript(data):
        raise UserError(f"{setting}: is not TorchScript; a state dict goes with evaluation.detector=i3d")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{setting}: TorchScript that cannot be loaded ({str(error).splitlines()[0][:120]})") from error


def load_checked(network: torch.nn.Module, state: Mapping[str, torch.Tensor], *, setting: str, what: str) -> None:
    """Load a state dict. Errors: ``UserError`` that names the first missing, unknown, misshapen or non-finite parameter."""
    given, wanted = without_counters(state), without_counters(network.state_dict())
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unknown:
        kinds = {"keys missing": missing, "unknown": unknown}
        counts = [f"{len(keys)} {kind}" + (f" (first: {keys[0]})" if keys else "") for kind, keys in kinds.items()]
        raise UserError(f"{setting}: not {what}: {', '.join(counts)}")
    for name, value in wanted.items():
        if value.shape != given[name].shape:
            shapes = f"{tuple(given[name].shape)}, expected {tuple(value.shape)}"
            raise UserError(f"{setting}: {name} has shape {shapes}: not {what}")
    for name, value in given.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{setting}: {name} holds values that are not finite; fetch the file again")
    network.load_state_dict(given, strict=False)


def without_counters(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state dict without the counters of batch normalization, which not every file has."""
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def digest(name: str, preprocessing: str, state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the network's name, its preprocessing and every weight (names, shapes, bytes; in order of names)."""
    sha = hashlib.sha256(f"{name}\n{preprocessing}\n".encode())
    for key, value in sorted(without_counters(state).items()):
        array = value.detach().cpu().float().numpy()
        sha.update(f"{key} {array.shape}\n".encode() + array.tobytes())
    return sha.hexdigest()
