"""Shared fixtures: configurations from params.yaml, a small generator, an MLflow store and an S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from ruamel.yaml import YAML

from digan.data.clips import ClipsConfig
from pipelines.dataset.shard_writer import ShardsConfig
from pipelines.evaluation.config import EvaluationConfig
from pipelines.sources import SourceConfig
from tests import s3

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("MLFLOW_TRACKING_URI", None)
for name in [name for name in os.environ if name.startswith("AWS_")]:  # tests must not use the developer's S3 store
    del os.environ[name]

BUCKETS = count()
WriteParams = Callable[..., Path]


def source_config(**changes: Any) -> SourceConfig:
    """The section ``source`` of the repository's params.yaml with some values changed (of a sub-section: ``toy={...}``);
    the toy without classes unless asked for others.
    """
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["source"]
    values["name"], values["classes"], values["toy"]["classes"] = "toy", False, ""
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    kinds = get_type_hints(SourceConfig)
    return SourceConfig(
        **{key: kinds[key](**value) if isinstance(value, dict) else value for key, value in values.items()}
    )


def clips_config(**changes: Any) -> ClipsConfig:
    """The section ``clips`` of the repository's params.yaml with some values changed."""
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["clips"]
    return ClipsConfig(**{**values, **changes})


def shards_config(**changes: Any) -> ShardsConfig:
    """The section ``shards`` of the repository's params.yaml with some values changed."""
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["shards"]
    return ShardsConfig(**{**values, **changes})


def evaluation_config(**changes: Any) -> EvaluationConfig:
    """The section ``evaluation`` of the repository's params.yaml with some values changed."""
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["evaluation"]
    return EvaluationConfig(**{**values, **changes})


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def write_params(tmp_path: Path) -> WriteParams:
    """Write a params.yaml, the repository's with the given dotted keys changed, into the test's folder."""

    def write(changes: dict[str, Any] | None = None, folder: Path | None = None) -> Path:
        values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
        for dotted, value in (changes or {}).items():
            *sections, key = dotted.split(".")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[key] = value
        path = (folder or tmp_path) / "params.yaml"
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(values, file)
        return path

    return write


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small unconditional generator for 32 x 32 pixels."""
    import torch

    from digan.generator_io import save_generator
    from digan.models.config import NetworkConfig
    from digan.models.generator import VideoGenerator

    config = NetworkConfig(
        resolution=32, channel_base=256, channel_max=8, mapping_layers=1, modulation_rank=2, classes=0
    )
    folder = tmp_path_factory.mktemp("model") / "generator"
    save_generator(VideoGenerator(config).reset(generator=torch.Generator().manual_seed(0)).eval(), folder)
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an MLflow store of its own; making one takes seconds, so all tests use this one under their own
    names.
    """
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    """A real S3 server on loopback, started by the first test that asks for it, for all that do."""
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new, empty bucket; the AWS_* variables lead to its server while the test runs."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket(f"test-{next(BUCKETS):04d}")
