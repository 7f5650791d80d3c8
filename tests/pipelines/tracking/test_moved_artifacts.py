"""A store that was moved or copied: its artifacts are found beside the database, or both places are named."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from pipelines.tracking import runs
from pipelines.tracking.moved_artifacts import ArtifactsMovedError, beside
from pipelines.tracking.store import TrackingConfig, experiment_id


@pytest.mark.parametrize("folder", ["plain", "a b", "ü%20x", "mlartifacts"])
@pytest.mark.parametrize("form", ["uri", "path"])
def test_artifacts_are_found_beside_the_database(tmp_path: Path, folder: str, form: str) -> None:
    old, new = tmp_path / "old" / folder, tmp_path / "new" / folder
    for parent in (old, new):
        (parent / "mlartifacts/models/m-1/artifacts").mkdir(parents=True)
    path = old / "mlartifacts/models/m-1/artifacts"
    address = path.as_uri() if form == "uri" else str(path)
    assert beside(address, old / "mlflow.db") == address
    assert beside(address, new / "mlflow.db") == (new / "mlartifacts/models/m-1/artifacts").as_uri()
    shutil.rmtree(old)  # a move
    assert beside(address, new / "mlflow.db") == (new / "mlartifacts/models/m-1/artifacts").as_uri()
    shutil.rmtree(new / "mlartifacts")
    with pytest.raises(ArtifactsMovedError) as error:
        beside(address, new / "mlflow.db")
    assert str(path) in str(error.value) and str(new / "mlartifacts") in str(error.value)


@pytest.mark.parametrize(
    "address", ["s3://bucket/mlartifacts/1", "mlflow-artifacts:/1/models", "file:///elsewhere/1", "models:/m-1"]
)
def test_other_addresses_stay(tmp_path: Path, address: str) -> None:
    assert beside(address, tmp_path / "mlflow.db") == address
    assert beside(address, None) == address


def test_new_runs_of_a_copied_store_write_beside_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old").mkdir()
    old = runs.resolved(TrackingConfig(uri="", experiment="moved"), tmp_path / "old")
    with caplog.at_level(logging.WARNING):
        first = runs.open_run(old, {}, {}, tmp_path / "old/run.json")
        assert runs.open_run(old, {}, {}, tmp_path / "old/run.json") == first
        assert runs.writable_run(old, first, "evaluate") == first
    runs.client(old).log_text(first, "old", "text.txt")
    assert not caplog.records
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    before = contents(tmp_path / "old")
    new = runs.resolved(TrackingConfig(uri="", experiment="moved"), tmp_path / "new")
    opened = runs.open_run(new, {}, {}, tmp_path / "new/run.json")
    assert runs.open_run(new, {}, {}, tmp_path / "new/run.json") == opened != first  # the second launch goes on with it
    evaluated = runs.writable_run(new, first, "evaluate")
    assert runs.writable_run(new, first, "register") == evaluated  # one run for both stages
    mlflow = runs.client(new)
    assert mlflow.get_run(evaluated).data.tags["trained_in"] == first
    for run_id in (opened, evaluated):
        mlflow.log_text(run_id, "new", "text.txt")
        assert (tmp_path / f"new/mlartifacts/{run_id}/artifacts/text.txt").read_text() == "new"
    experiment = mlflow.get_run(opened).info.experiment_id
    logged = mlflow.create_logged_model(experiment, name="generator", source_run_id=opened)
    assert logged.artifact_location.startswith((tmp_path / "new").as_uri())
    assert experiment == experiment_id(new) != mlflow.get_run(first).info.experiment_id
    assert contents(tmp_path / "old") == before
    message = caplog.records[0].getMessage()
    assert (
        "tracking.experiment=moved" in message and str(tmp_path / "old") in message and str(tmp_path / "new") in message
    )


def contents(folder: Path) -> list[str]:
    """All paths below the folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
