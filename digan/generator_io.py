"""Generators on disk: a folder with config, weights and names of classes, written atomically, loaded without unpickling code."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from digan import class_names
from digan.atomic import replacing
from digan.errors import UserError
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator

WEIGHTS = "weights.pt"
CONFIG = "config.json"


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` (name -> content) as ``folder``, atomically replacing an older one."""
    with replacing(folder) as part:
        part.mkdir()
        for name, data in files.items():
            (part / name).write_bytes(data)


def generator_files(generator: VideoGenerator, classes: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of a generator's folder, name -> content; the last one is its config. ``classes`` are the classes' names."""
    weights = {name: value.detach().cpu().clone() for name, value in generator.state_dict().items()}
    memory = io.BytesIO()
    torch.save(weights, memory)
    config = (json.dumps(generator.config.to_json(), indent=2) + "\n").encode()
    return {**class_names.content(classes), WEIGHTS: memory.getvalue(), CONFIG: config}


def save_generator(generator: VideoGenerator, folder: Path) -> None:
    """Write weights and config to ``folder``, atomically replacing an older generator."""
    write_folder(Path(folder), generator_files(generator))


def load_generator(folder: Path) -> VideoGenerator:
    """Load a generator in evaluation mode, on the CPU and without gradients.

    Raises ``UserError`` if a file is missing, damaged, or does not match the other.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no generator there ({name} is missing); train one, or choose another folder")
    try:
        config = NetworkConfig(**json.loads((folder / CONFIG).read_text()))
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        generator = VideoGenerator(config)
        generator.load_state_dict(weights)
    except (json.JSONDecodeError, TypeError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{folder}: the generator there is damaged ({reason}); restore it or train again") from error
    return generator.eval().requires_grad_(False)
