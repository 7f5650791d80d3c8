"""Reads params.yaml into frozen dataclasses and rejects unknown keys, wrong types and invalid values.

The dataclass of a section belongs to the package it configures and checks its own values; checks of several sections are
here. Every stage and command imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from digan.data.clips import ClipsConfig
from digan.errors import UserError, suggestion
from digan.models.config import NetworkConfig
from digan.redaction import redacted
from digan.training.config import MOTION_GROUP, TrainingConfig
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.dataset.shard_writer import ShardsConfig
from pipelines.evaluation.config import EvaluationConfig
from pipelines.params_file import flatten, read, shown
from pipelines.registry.config import RegistryConfig
from pipelines.sources import SourceConfig
from pipelines.sweeps import space
from pipelines.sweeps.config import SweepConfig
from pipelines.tracking.runs import TrackingConfig

DEFAULT_PATH = "params.yaml"
I3D_FRAMES = 10  # shortest clip that I3D's pooling accepts
TYPES = {bool: "true or false", str: 'text; put it in quotes, "" for none', int: "a whole number", float: "a number"}

Config = TypeVar("Config")

# Keys of older parameter files, which are rejected, and their new names.
RENAMED_KEYS = {
    "source.toy_videos": "source.toy.videos",
    "source.toy_classes": "source.toy.classes",
    "source.toy_seed": "source.toy.seed",
    "source.split": "source.ucf101.split (or that of sky_timelapse, taichi_hd, kinetics_food)",
    "source.split_list": "source.ucf101.split_list",
    "source.labels": "source.folder.labels",
    "source.layout": "source.frames.layout",
    "source.max_refused": "source.max_rejected",
    "training.mirror": "training.horizontal_flip",
    "evaluation.companions": "evaluation.extra_detectors",
    "tune.interval": "tune.grace_period",
    "tune.reduction": "tune.reduction_factor",
    "tune.concurrency": "tune.max_concurrent_trials",
}


@dataclass(frozen=True, kw_only=True)
class ModelParams:
    """Section ``model``; the resolution and the number of classes of the networks come from the data."""

    channel_base: int
    channel_max: int
    mapping_layers: int
    modulation_rank: int
    drift: int

    def config(self, *, resolution: int, classes: int) -> NetworkConfig:
        """Return the configuration of the networks for ``resolution`` pixels and ``classes`` classes (0: none)."""
        return NetworkConfig(resolution=resolution, classes=classes, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class Params:
    """All of params.yaml, one attribute per section."""

    source: SourceConfig
    clips: ClipsConfig
    shards: ShardsConfig
    model: ModelParams
    training: TrainingConfig
    cluster: ClusterConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    registry: RegistryConfig
    tune: SweepConfig

    def __post_init__(self) -> None:
        self.model.config(resolution=self.clips.resolution, classes=0)
        _check_workers(self.training, self.cluster.workers)
        detector = self.evaluation.detector
        if detector.startswith("i3d") and self.clips.frames < I3D_FRAMES:
            need = f"evaluation.detector={detector} requires at least {I3D_FRAMES} frames per clip"
            raise UserError(f"clips.frames={self.clips.frames}: {need}; try 16, or another detector")
        self.evaluation.measured_by().frames_of(self.clips.frames)
        space.parse(self.tune.space, self.as_dict())

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the values by section and key, as in the file but without credentials."""
        values = asdict(self)
        values["tracking"]["uri"] = redacted(self.tracking.uri)
        return values


def load(path: str | Path = DEFAULT_PATH) -> Params:
    """Read and check the file. Errors: ``UserError`` with key, value and remedy."""
    return compose(read(path), path)


def compose(values: dict[str, Any], path: str | Path) -> Params:
    """Check the values of a whole parameter file; ``path`` is named in errors."""
    _check_credentials(values)
    return _config(values, Params, prefix=f"{path}: ", kind="section")


def load_tracking(path: str | Path = DEFAULT_PATH) -> TrackingConfig:
    """Read the section ``tracking`` only; if there is no such file, return its defaults."""
    if not Path(path).exists():
        return TrackingConfig(uri="", experiment="digan")
    values = read(path)
    known = [name for name in get_type_hints(Params) if name in values or name == "tracking"]
    _check_names(values, known, prefix=f"{path}: ", kind="section")
    return _value(values["tracking"], TrackingConfig, "tracking")


def _config(values: dict[str, Any], config: type[Config], *, prefix: str, kind: str) -> Config:
    """Build a dataclass from checked values; ``prefix`` and ``kind`` describe its names in errors."""
    hints, names = get_type_hints(config), [field.name for field in fields(config)]  # type: ignore[arg-type]
    _check_names(values, names, prefix=prefix, kind=kind)
    above = "" if kind == "section" else prefix
    return config(**{name: _value(values[name], hints[name], above + name) for name in names})


def _check_names(values: dict[str, Any], names: list[str], *, prefix: str, kind: str) -> None:
    unknown = [str(key) for key in values if key not in names]
    missing = [name for name in names if name not in values]
    for key in unknown:
        if renamed := RENAMED_KEYS.get(f"{prefix}{key}"):
            raise UserError(f"{prefix}{key}: the key is now {renamed}; rename it")
    if unknown:
        remedy = suggestion(unknown[0], dict.fromkeys(missing + names), prefix=prefix.rpartition(" ")[2])
        raise UserError(f"{prefix}{unknown[0]}: unknown {kind}; {remedy}")
    if missing:
        raise UserError(f"{prefix}{missing[0]}: missing {kind}; every {kind} is required")


def _value(value: Any, kind: type[Any], key: str) -> Any:
    """Return ``value`` if it has the type ``kind``. Integers are valid floats; booleans are not numbers."""
    if is_dataclass(kind):
        if isinstance(value, dict):
            return _config(value, kind, prefix=f"{key}.", kind="key")
        raise UserError(f"{key}={shown(value)}: must be a section with keys, one per line below `{key}:`")
    if get_origin(kind) is Mapping:
        if value is None or isinstance(value, dict):
            return value or {}
        raise UserError(f"{key}={shown(value)}: must hold names, one per line below `{key.rpartition('.')[2]}:`")
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind is not float and type(value) is kind:
        return value
    raise UserError(f"{key}={shown(value)}: must be {TYPES[kind]}; see its comment in params.yaml")


def _check_credentials(values: dict[str, Any]) -> None:
    """Reject credentials in addresses: the values of params.yaml are copied to indexes, records and dvc.lock."""
    for key, value in flatten(values).items():
        text = f"{key}={shown(value)}"
        if key != "tracking.uri" and "://" in str(value) and redacted(str(value)) != str(value):
            raise UserError(f"{text}: holds credentials, which would be copied to records; set AWS_* variables instead")


def _check_workers(training: TrainingConfig, workers: int) -> None:
    batch = training.batch_size
    if workers > training.micro_batches:
        sizes = [*range(1, MOTION_GROUP + 1), *range(MOTION_GROUP, batch, MOTION_GROUP)]
        fits = [size for size in sizes if not batch % size and batch // size >= workers]
        remedy = f"try training.micro_batch={max(fits)}" if fits else f"try cluster.workers={batch}"
        has = f"training.batch_size={batch} has {training.micro_batches} micro-batches of {training.micro_batch}"
        raise UserError(f"cluster.workers={workers}: {has}, and each worker needs one; {remedy}")
