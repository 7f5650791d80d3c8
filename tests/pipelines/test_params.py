"""params.yaml: valid files are read; errors are one line with key, value and remedy."""

from __future__ import annotations

import dataclasses
import errno
import re
from pathlib import Path
from typing import Any

import pytest

from digan.errors import UserError
from pipelines import params
from pipelines.exit_status import run_stage
from tests.conftest import ROOT, WriteParams


def rejection(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        params.load(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_repository_file_is_valid_and_complete() -> None:
    loaded = params.load(ROOT / "params.yaml")
    assert loaded.training.micro_batches >= loaded.cluster.workers
    assert loaded.as_dict() == {name: dict(section) for name, section in params.read(ROOT / "params.yaml").items()}


def test_every_key_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    bare = [line.split(":")[0].strip() for line in lines if line.startswith("  ") and "#" not in line]
    assert bare == []


def test_renamed_key_is_rejected_with_its_new_name(write_params: WriteParams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(params.RENAMED_KEYS, "training.gamma", "training.r1_gamma")
    path = write_params({"training.gamma": 2})
    assert rejection(path) == "training.gamma: the key is now training.r1_gamma; rename it"


def test_integer_is_a_valid_float(write_params: WriteParams) -> None:
    value = params.load(write_params({"training.r1_gamma": 2})).training.r1_gamma
    assert value == 2.0 and isinstance(value, float)


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("training.r1_gama", 0.1, ["training.r1_gama", "unknown key", "nearest is training.r1_gamma"]),
        ("trainig", {}, ["trainig", "unknown section", "nearest is training"]),
        ("xyz", {}, ["xyz: unknown section; choose one of source, clips, shards, model, training"]),
        ("source.toy.xyz", 3, ["source.toy.xyz: unknown key; choose one of videos, classes, seed"]),
        ("training.batch_size", "abc", ['training.batch_size="abc"', "whole number"]),
        ("training.batch_size", 16.0, ["training.batch_size=16.0", "whole number"]),
        ("training.batch_size", True, ["training.batch_size=true", "whole number"]),
        ("training.horizontal_flip", 1, ["training.horizontal_flip=1", "true or false"]),
        ("training.r1_gamma", float("nan"), ["training.r1_gamma=nan", "a number"]),
        ("training.seed", None, ["training.seed=(nothing)", "whole number"]),
        ("source.path", 7, ["source.path=7", "text"]),
        ("clips", 7, ["clips=7", "section"]),
        ("clips.resolution", 48, ["clips.resolution=48", "power of two", "try"]),
        ("training.batch_size", 15, ["training.batch_size=15", "multiple of training.micro_batch=4", "micro_batch=3"]),
        ("training.micro_batch", 8, ["cluster.workers=2", "1 micro-batches of 8", "try training.micro_batch=4"]),
        ("cluster.workers", 3, ["cluster.workers=3", "2 micro-batches of 4", "try training.micro_batch=2"]),
        ("training.micro_batch", 1, ["training.mismatch_weight=1.0", "try training.micro_batch=2, or 0"]),
        ("source.name", "folder", ["source.path"]),
        ("source.name", "ucf101", ["source.path is empty", "'ucf101'"]),
        ("source.name", "ucf", ["source.name=ucf", "one of sky_synthetic, toy, folder, frames, ucf101"]),
        ("source.ucf101.split", "val", ["source.ucf101.split=val", "train, test, both"]),
        ("source.taichi_hd.split", "val", ["source.taichi_hd.split=val", "train, test, both"]),
        ("source.ucf101.split_list", 4, ["source.ucf101.split_list=4", "1, 2 or 3"]),
        ("source.frames.layout", "strip", ["source.frames.layout=strip", "folders, strips"]),
        ("source.toy.video", 3, ["source.toy.video: unknown key; nearest is source.toy.videos"]),
        ("source.toy.videos", 3.0, ["source.toy.videos=3.0", "whole number"]),
        ("source.toy", 3, ["source.toy=3", "must be a section"]),
        ("source.toys", {}, ["source.toys: unknown key; nearest is source.toy"]),
        ("source.max_rejected", 1.5, ["source.max_rejected=1.5", "from 0 to 1"]),
        ("source.toy_videos", 3, ["source.toy_videos: the key is now source.toy.videos; rename it"]),
        ("source.toy_classes", "", ["source.toy_classes: the key is now source.toy.classes; rename it"]),
        ("source.toy_seed", 0, ["source.toy_seed: the key is now source.toy.seed; rename it"]),
        ("source.split", "train", ["source.split: the key is now source.ucf101.split (or that of sky_timelapse, "]),
        ("source.split_list", 1, ["source.split_list: the key is now source.ucf101.split_list; rename it"]),
        ("source.labels", "", ["source.labels: the key is now source.folder.labels; rename it"]),
        ("source.layout", "folders", ["source.layout: the key is now source.frames.layout; rename it"]),
        ("model.channel_base", 8, ["model.channel_base=8"]),
        ("evaluation.protocol", "digan-128", ["evaluation.protocol=digan-128: measures 128 frames, the clips have 16"]),
        ("registry.max_ratio", -1, ["registry.max_ratio=-1", "try 10"]),
        (
            "registry.max_ratio",
            0.5,
            ["registry.max_ratio=0.5", "must be 0 (any first version becomes champion) or from 1"],
        ),
        ("registry.model", "a/b", ['registry.model="a/b"']),
        ("tracking.experiment", " ", ["tracking.experiment"]),
    ],
)
def test_invalid_value_is_named(write_params: WriteParams, key: str, value: Any, parts: list[str]) -> None:
    text = rejection(write_params({key: value}))
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(("key", "value"), [("source.classes", True), ("source.only_classes", "sky")])
def test_class_keys_are_rejected_for_data_sets_without_classes(write_params: WriteParams, key: str, value: Any) -> None:
    source = {"source.name": "taichi_hd", "source.path": "/data", "source.classes": False}
    text = rejection(write_params({**source, key: value}))
    assert text.startswith(f"{key}={str(value).lower()}: taichi_hd has no classes")


@pytest.mark.parametrize(("batch", "micro", "workers"), [(1, 1, 1), (3, 1, 2), (6, 3, 2), (24, 8, 2), (64, 4, 5)])
def test_valid_batch_sizes(write_params: WriteParams, batch: int, micro: int, workers: int) -> None:
    """Any number of workers up to the number of micro-batches."""
    changes = {"training.batch_size": batch, "training.micro_batch": micro, "cluster.workers": workers}
    changes["training.mismatch_weight"] = float(micro > 1)
    assert params.load(write_params(changes))


@pytest.mark.parametrize(("batch", "micro"), [(12, 6), (7, 7)])
def test_micro_batch_is_a_multiple_of_the_group(write_params: WriteParams, batch: int, micro: int) -> None:
    text = rejection(write_params({"training.batch_size": batch, "training.micro_batch": micro, "cluster.workers": 1}))
    assert text.startswith(f"training.micro_batch={micro}: must be a multiple of the discriminator's group of 4; try 4")


def test_i3d_requires_ten_frames(write_params: WriteParams) -> None:
    text = rejection(write_params({"clips.frames": 8, "evaluation.detector": "i3d_untrained"}))
    assert text.startswith("clips.frames=8")


def test_missing_key_and_section_are_named(tmp_path: Path) -> None:
    lines = (ROOT / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"  experiment: digan.*\n", "", lines))
    assert "tracking.experiment: missing key" in rejection(path)
    path.write_text(lines.split("registry:")[0])
    assert "registry: missing section" in rejection(path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training:\n  seed: 1\n  seed: 2\n", ["line 3", "duplicate key", "seed"]),
        ("training:\n  seed: [1\n", ["line", "not valid YAML"]),
        ("training:\n\tseed: 1\n", ["line 2", "not valid YAML"]),
        ("", ["must hold sections"]),
        ("- 1\n", ["must hold sections"]),
    ],
)
def test_invalid_yaml_is_located(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    message = rejection(path)
    assert [part for part in parts if part not in message] == []


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in rejection(tmp_path / "params.yaml")
    assert "is a folder" in rejection(tmp_path)
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in rejection(tmp_path / "params.yaml")


def test_tracking_is_read_without_other_sections(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert params.load_tracking(path).experiment == "digan"
    path.write_text('tracking:\n  uri: "sqlite:///x.db"\n  experiment: other\n')
    assert params.load_tracking(path).uri == "sqlite:///x.db"


def test_params_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.load(ROOT / "params.yaml").training.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (UserError("a=1: no;\n try 2"), 2, ["error: a=1: no; try 2\n"]),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 2, ["error: /x/y: no space", "free some"]),
        (PermissionError(errno.EACCES, "denied", "/x"), 2, ["error: /x: permission denied"]),
        (OSError(errno.EROFS, "ro", "/x"), 2, ["error: /x: read-only file system"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)
def test_user_error_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, parts: list[str]
) -> None:
    def stage() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_stage(stage)
    shown = capsys.readouterr()
    assert caught.value.code == code and shown.out == "" and shown.err.count("\n") == 1
    assert [part for part in parts if part not in shown.err] == []


@pytest.mark.parametrize(
    "error", [ValueError("bug"), OSError(errno.EIO, "disk"), FileNotFoundError("x"), AssertionError()]
)
def test_bugs_keep_their_traceback(error: Exception) -> None:
    def stage() -> None:
        raise error

    with pytest.raises(type(error)):
        run_stage(stage)
