"""A generator as an MLflow pyfunc model: its folder, loaded by this module, without pickled code.

    model = mlflow.pyfunc.load_model("models:/digan-toy@champion")
    videos = model.predict({"seed": [7, 8], "frames": [16, 16]}, params={"truncation": 0.7})  # uint8 [2, 16, 3, H, W]

MLflow calls ``_load_pyfunc`` of the model's loader module, so this package must be installed where a model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from digan.errors import UserError
from digan.generator_io import load_generator
from digan.sampling import sample
from digan.times import frame_times

LOADER = "pipelines.registry.pyfunc_model"  # named by registered versions, so it must stay importable
DEFAULT_FRAMES = 16


class VideoModel:
    """The model that ``mlflow.pyfunc`` wraps: maps seeds to videos."""

    def __init__(self, folder: Path) -> None:
        self.generator = load_generator(folder)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> np.ndarray:
        """Return videos, uint8 [B, T, 3, H, W], for rows of ``seed`` and, optionally, ``frames`` (equal) and ``label``.

        ``params["truncation"]`` is psi (1: off). The same rows give the same videos. Errors: ``UserError``.
        """
        seeds = _column(model_input, "seed")
        if not seeds:
            raise UserError("seed: at least one is required, as in {'seed': [7], 'frames': [16]}")
        counts = set(_column(model_input, "frames", DEFAULT_FRAMES))
        if len(counts) != 1 or min(counts) < 1:
            raise UserError(f"frames={sorted(counts)}: must be the same positive number in all rows")
        labels = _column(model_input, "label") or None
        truncation = float((params or {}).get("truncation", 1.0))
        times = frame_times(counts.pop())
        return sample(self.generator, seeds=seeds, times=times, labels=labels, truncation=truncation).numpy()


def _load_pyfunc(data_path: str) -> VideoModel:
    """Load the model for MLflow; ``data_path`` is the generator's folder inside the model."""
    return VideoModel(Path(data_path))


def signature(resolution: int) -> Any:
    """Return the signature of ``predict``, which MLflow checks and shows."""
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    optional = [ColSpec("long", name, required=False) for name in ("frames", "label")]
    videos = TensorSpec(np.dtype("uint8"), (-1, -1, 3, resolution, resolution))
    params = ParamSchema([ParamSpec("truncation", "double", 1.0)])
    return ModelSignature(inputs=Schema([ColSpec("long", "seed"), *optional]), outputs=Schema([videos]), params=params)


def _column(model_input: Any, name: str, *default: int) -> list[int]:
    """Return a column of a data frame or mapping without its missing values, or ``default`` if there is none."""
    column = model_input.get(name)
    values = default if column is None else np.atleast_1d(np.asarray(column)).tolist()
    return [int(value) for value in values if value is not None and value == value]
