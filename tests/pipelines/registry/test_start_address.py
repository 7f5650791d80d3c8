"""`training.start_from`: which addresses give weights, and the copy that a run keeps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from digan.errors import UserError
from digan.generator_io import generator_files, load_generator, write_folder
from digan.training import checkpoint, start_weights
from digan.training.checkpoint import FolderStore
from digan.training.start_weights import StartWeights
from digan.training.state import TrainingState
from pipelines.registry import start_address
from pipelines.tracking.runs import TrackingConfig
from pipelines.training_run.run_start import RunStart, no_start
from tests.digan.training.test_loop import CPU, MODEL, TRAINING

TRACKING = TrackingConfig(uri="", experiment="digan")


@pytest.fixture
def finished(tmp_path: Path, tiny_generator: Path) -> Path:
    """The folder of a run with two checkpoints and a generator (of other sizes)."""
    folder = tmp_path / "my run"
    state = TrainingState(TRAINING, MODEL, CPU)
    for state.clips_seen in (8, 16):
        checkpoint.write(checkpoint.capture(state), FolderStore(folder / "checkpoints"), model=MODEL, keep=2)
    shutil.copytree(tiny_generator, folder / "generator")
    return folder


def test_checkpoints_are_found_and_else_the_generator(finished: Path) -> None:
    for address in (finished, finished / "checkpoints", finished / "checkpoints" / "0000000008"):
        assert start_address.load(str(address), TRACKING, MODEL, ()).has_discriminator
    model = load_generator(finished / "generator").config
    assert not start_address.load(str(finished / "generator"), TRACKING, model, ()).has_discriminator
    shutil.rmtree(finished / "checkpoints")
    assert not start_address.load(str(finished), TRACKING, model, ()).has_discriminator


def test_wrong_addresses_are_one_line_with_the_key(finished: Path, tmp_path: Path) -> None:
    def error(address: object, **change: int) -> str:
        with pytest.raises(UserError) as caught:
            start_address.load(str(address), TRACKING, replace(MODEL, **change), ())
        assert str(caught.value).startswith(f"training.start_from={address}: ") and "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such folder" in error(tmp_path / "none")
    assert "holds no generator" in error(tmp_path)
    assert "must look like models:/NAME@champion" in error("models:/x")
    assert "not supported yet" in error("s3://bucket/run")
    assert "does not fit: clips.resolution is 64 and 32 there; it has 0 classes and the data 2" in error(
        finished, resolution=64, classes=2
    )
    damaged, intact = (finished / "checkpoints" / name for name in ("0000000016", "0000000008"))
    (damaged / "state.pt").write_bytes(b"x")
    assert "is damaged (state.pt does not match its checksum); choose another" in error(damaged)
    assert start_address.load(str(finished), TRACKING, MODEL, ()).has_discriminator  # the one before
    for folder in (damaged, intact):
        (folder / "manifest.json").write_text("{")
    assert "its checkpoint is damaged" in error(finished)


def test_classes_of_a_generator_and_of_a_run_are_compared_by_name(tmp_path: Path) -> None:
    model = replace(MODEL, classes=2)
    state, run = TrainingState(TRAINING, model, CPU), tmp_path / "run"
    checkpoint.write(checkpoint.capture(state), FolderStore(run / "checkpoints"), model=model, keep=2)
    write_folder(run / "initial_generator", generator_files(state.generator_ema, ("cat", "dog")))
    for address in (run, run / "checkpoints" / "0000000000", run / "initial_generator"):
        assert start_address.load(str(address), TRACKING, model, ("cat", "dog")).classes == ("cat", "dog")
        with pytest.raises(UserError, match="its classes are cat, dog, those of the data cat, cow; make them equal"):
            start_address.load(str(address), TRACKING, model, ("cat", "cow"))


def test_run_keeps_a_copy_and_asks_once(finished: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    lines: list[str] = []

    def load(address: str, tracking: TrackingConfig, model: object, classes: object) -> StartWeights:
        asked.append(address)
        return start_address.load(address, TRACKING, MODEL, ())

    output = str(tmp_path / "train")
    for resumes in (False, True, True, False):  # the last one replaces the run
        start = RunStart(str(finished), output, resumes=resumes)
        start.fetch(load, TRACKING, MODEL, ())
        start.keep(lines.append)
    assert len(asked) == 2 and lines[0] == f"starting from generator and discriminator of {finished}"
    assert start_weights.read(FolderStore(tmp_path / "train")).has_discriminator
    nothing = RunStart("", str(tmp_path / "other"), resumes=False)
    nothing.fetch(no_start, TRACKING, MODEL, ())
    nothing.keep(lines.append)
    assert not (tmp_path / "other").exists() and len(lines) == 2
