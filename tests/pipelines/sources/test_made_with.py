"""Stages refuse shards that were made with other values of source, clips or shards than params.yaml has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from digan.errors import UserError
from pipelines import evaluate, params, reference, register, train, tune
from pipelines.dataset.shard_index import read_index
from pipelines.ingest import ingest
from pipelines.params_file import flatten
from pipelines.sources.made_with import check_made_with
from tests.conftest import ROOT, WriteParams

BASE = {"source.name": "frames", "source.frames.layout": "strips", "source.path": "raw", "clips.frames": 4}
BASE |= {"clips.validation_share": 0.5, "evaluation.detector": "transnetv2", "shards.encoding": "jpeg"}
OTHERS: dict[str, Any] = {  # another valid value for each key that the data set below uses
    "source.classes": False,
    "source.only_classes": "cats",
    "source.max_rejected": 0.25,
    "source.decoder": "decord",
    "source.frames.layout": "folders",
    "source.path": "elsewhere",
    "source.name": "toy",
    "clips.resolution": 64,
    "clips.frames": 8,
    "clips.frame_stride": 2,
    "clips.fps": 5.0,
    "clips.min_frames": 5,
    "clips.drop_static": 0.3,
    "clips.drop_black": 8.0,
    "clips.validation_share": 0.4,
    "shards.address": "s3://bucket/shards",
    "shards.encoding": "png",
    "shards.jpeg_quality": 80,
    "shards.megabytes": 2.0,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos in ``raw`` and their shards."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(8):
        path = folder / f"raw/{'cats' if number % 2 else 'dogs'}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 8 * 32, 3), 90, np.uint8)).save(path)
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for key, value in BASE.items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[last] = value
    loaded = params.compose(values, "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ingest(loaded.source, loaded.clips, loaded.shards, Path("outputs/shards"))
    return folder


@pytest.fixture
def changed(made: Path, write_params: WriteParams, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the params.yaml that the shards were made with, with some values changed, and go there."""
    monkeypatch.chdir(made)
    return lambda changes: write_params({**BASE, **changes}, made)


def check(made: Path) -> None:
    check_made_with(read_index(made / "outputs/shards"), params.load().as_dict())


@pytest.mark.parametrize("key", OTHERS)
def test_every_key_counts(key: str, made: Path, changed: Callable[..., None]) -> None:
    changed({key: OTHERS[key]})
    with pytest.raises(UserError) as caught:
        check(made)
    line = str(caught.value)
    before = flatten(params.load(ROOT / "params.yaml").as_dict()) | BASE
    old, new = (str(value).lower() if isinstance(value, bool) else str(value) for value in (before[key], OTHERS[key]))
    assert line.startswith(f"{key}=") and new in line.split(":")[0] + line.split("=")[1]
    assert f"were made with {old}" in line.replace('"', "") and line.count("\n") == 0
    assert "; run python -m pipelines.ingest again, or set it back" in line


def test_the_keys_above_are_all_keys() -> None:
    values = params.load(ROOT / "params.yaml").as_dict()
    others = {
        f"source.{name}."
        for name in ("sky_synthetic", "toy", "folder", "ucf101", "sky_timelapse", "taichi_hd", "kinetics_food")
    }
    keys = flatten({section: values[section] for section in ("source", "clips", "shards")})
    assert {key for key in keys if not key.startswith(tuple(others))} == set(OTHERS)


@pytest.mark.parametrize("stage", [train, tune, reference, evaluate, register])
def test_stages_refuse(stage: Any, changed: Callable[..., None]) -> None:
    changed({"clips.drop_black": 8.0})
    with pytest.raises(
        UserError, match=r"^clips\.drop_black=8\.0: the shards at .*/outputs/shards were made with 0\.0; run"
    ):
        stage.main([])


def test_ways_to_write_one_value(made: Path, changed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(made))
    (made / "link").symlink_to("raw")
    for path in ("raw", "./raw/", str(made / "raw"), "~/raw", "outputs/../raw", "link"):
        changed({"source.path": path})
        check(made)
    (made / "link").unlink()


def test_keys_without_an_effect_may_change(made: Path, changed: Callable[..., None]) -> None:
    changed({"source.toy.videos": 7, "source.ucf101.split": "both", "training.seed": 3})
    check(made)


def test_an_index_of_before_is_compared_by_what_it_records(
    made: Path, changed: Callable[..., None], tmp_path: Path
) -> None:
    content = json.loads((made / "outputs/shards/index.json").read_text())
    del content["settings"], content["source"]["decoder"]
    (tmp_path / "index.json").write_text(json.dumps(content))
    changed({"clips.fps": 5.0, "source.decoder": "decord", "shards.megabytes": 2.0})
    check_made_with(read_index(tmp_path), params.load().as_dict())
    changed({"clips.frame_stride": 2})
    with pytest.raises(UserError, match=r"^clips\.frame_stride=2: .* made with 1"):
        check_made_with(read_index(tmp_path), params.load().as_dict())
