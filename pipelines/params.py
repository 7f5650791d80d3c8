"""params.yaml to frozen dataclasses, strictly: an unknown key, a wrong type or an impossible value ends here, in one
line.

Each section's dataclass stands beside the code that it configures and checks its own values; here is the reading, and
what concerns two sections at once. Nothing heavy is imported: every stage and command starts with this.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, get_type_hints

from digan.data.clips import ClipsConfig
from digan.errors import UserError
from digan.models.config import NetworkConfig
from digan.training.config import MOTION_GROUP, TrainingConfig
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.dataset.loader import ShardsConfig
from pipelines.evaluation.config import EvaluationConfig
from pipelines.params_file import read, shown
from pipelines.registry.config import RegistryConfig
from pipelines.sources import SourceConfig
from pipelines.sweeps import space
from pipelines.sweeps.config import SweepConfig
from pipelines.tracking.runs import TrackingConfig

if TYPE_CHECKING:
    from pipelines.cluster.training_driver import TrainingJob

DEFAULT_PATH = "params.yaml"
I3D_FRAMES = 10  # the shortest clip that I3D's pooling takes

Section = TypeVar("Section")

# Keys of older parameter files, which are refused, and their present names.
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
    """The section ``model`` of params.yaml; resolution and classes of a ``ModelConfig`` come from the data."""

    channel_base: int
    channel_max: int
    mapping_layers: int
    modulation_rank: int

    def __post_init__(self) -> None:
        self.config(resolution=32, classes=0)

    def config(self, *, resolution: int, classes: int) -> NetworkConfig:
        """The networks' sizes for clips of ``resolution`` pixels with ``classes`` classes (0: none)."""
        return NetworkConfig(resolution=resolution, classes=classes, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class Params:
    """Everything that params.yaml says, one attribute a section."""

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
        _check_batch(self.training, self.cluster.workers)
        if self.evaluation.detector.startswith("i3d") and self.clips.frames < I3D_FRAMES:
            raise UserError(
                f"clips.frames={self.clips.frames}: evaluation.detector={self.evaluation.detector} needs clips of "
                f"at least {I3D_FRAMES} frames; try 16, or another detector"
            )
        space.parse(self.tune.space, self.as_dict())

    def training_job(self) -> TrainingJob:
        """What ``training_driver.train`` needs of it."""
        from pipelines.cluster.training_driver import TrainingJob

        return TrainingJob(
            clips=self.clips,
            model=self.model.config(resolution=self.clips.resolution, classes=0),
            training=self.training,
            cluster=self.cluster,
            tracking=self.tracking,
            settings={name: section for name, section in self.as_dict().items() if name != "tune"},
        )

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The values as they stand in the file, section by section."""
        return asdict(self)


def load(path: str | Path = DEFAULT_PATH) -> Params:
    """Read and check the whole file; ``UserError`` with place, value and remedy where something is not right."""
    return compose(read(path), path)


def compose(values: dict[str, Any], place: str | Path) -> Params:
    """Check the values of a whole parameter file, which messages call ``place``."""
    hints = get_type_hints(Params)
    _check_names(values, list(hints), place=f"{place}: ", prefix="", kind="section")
    return Params(**{name: _section(values[name], name, kind) for name, kind in hints.items()})


def load_tracking(path: str | Path = DEFAULT_PATH) -> TrackingConfig:
    """The section ``tracking`` alone; its defaults where there is no such file (a model is used outside a
    repository).
    """
    if not Path(path).exists():
        return TrackingConfig(uri="", experiment="digan")
    values = read(path)
    _check_names(values, ["tracking"], place=f"{path}: ", prefix="", kind="section", known=list(get_type_hints(Params)))
    return _section(values["tracking"], "tracking", TrackingConfig)


def _section(values: Any, name: str, kind: type[Section]) -> Section:
    if not isinstance(values, dict):
        raise UserError(f"{name}={shown(values)}: must be a section with keys, one a line below `{name}:`")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    _check_names(values, names, place="", prefix=f"{name}.", kind="key")
    hints = get_type_hints(kind)
    return kind(**{key: _value(values[key], hints[key], f"{name}.{key}") for key in names})


def _value(value: Any, kind: type, key: str) -> Any:
    return _section(value, key, kind) if is_dataclass(kind) else _typed(value, kind, key)


def _check_names(
    values: dict[str, Any], names: list[str], *, place: str, prefix: str, kind: str, known: list[str] | None = None
) -> None:
    unknown = [key for key in values if key not in (known or names)]
    missing = [name for name in names if name not in values]
    if unknown:
        for key in unknown:
            if renamed := RENAMED_KEYS.get(f"{prefix}{key}"):
                raise UserError(f"{place}{prefix}{key}: the key is now {renamed}; rename it")
        near = difflib.get_close_matches(str(unknown[0]), missing + names, n=1, cutoff=0.0)
        raise UserError(f"{place}{prefix}{unknown[0]}: unknown {kind}; nearest is {prefix}{near[0]}")
    if missing:
        raise UserError(f"{place}{prefix}{missing[0]}: missing {kind}; every {kind} is required")


def _typed(value: Any, kind: type, key: str) -> Any:
    """``value`` if it is of this kind; whole numbers are taken for numbers, yes and no for nothing but themselves."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, int) and number:
        return value
    if kind is float and number and math.isfinite(value):
        return float(value)
    if get_origin(kind) is Mapping and (value is None or isinstance(value, dict)):
        return value or {}
    if get_origin(kind) is Mapping:
        raise UserError(f"{key}={shown(value)}: must hold names, one a line below `{key.rpartition('.')[2]}:`")
    wanted = {
        bool: "true or false",
        str: 'text; put it in quotes, "" for none',
        int: "a whole number",
        float: "a number",
    }
    assert kind in wanted, f"{key}: no rule to read {kind}"
    raise UserError(f"{key}={shown(value)}: must be {wanted[kind]}; params.yaml says beside the key what it means")


def _check_batch(training: TrainingConfig, workers: int) -> None:
    if workers > training.micro_batches:
        smaller = [m for m in range(1, MOTION_GROUP + 1) if not training.batch_size % m]
        smaller += [m for m in range(MOTION_GROUP, training.batch_size, MOTION_GROUP) if not training.batch_size % m]
        fits = [m for m in smaller if training.batch_size // m >= workers]
        remedy = f"try training.micro_batch={max(fits)}" if fits else f"try cluster.workers={training.batch_size}"
        raise UserError(
            f"cluster.workers={workers}: training.batch_size={training.batch_size} makes {training.micro_batches} "
            f"micro-batches of {training.micro_batch}, so only as many workers find work; {remedy}"
        )
