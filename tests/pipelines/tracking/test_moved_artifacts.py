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


def test_a_run_in_a_copied_store_says_where_its_artifacts_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old").mkdir()
    config = runs.resolved(TrackingConfig(uri="", experiment="moved"), tmp_path / "old")
    with caplog.at_level(logging.WARNING):
        experiment_id(config)
        experiment_id(config)
    assert not caplog.records
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    with caplog.at_level(logging.WARNING):
        experiment_id(runs.resolved(TrackingConfig(uri="", experiment="moved"), tmp_path / "new"))
    (record,) = caplog.records
    assert "tracking.experiment=moved" in record.getMessage() and str(tmp_path / "old") in record.getMessage()
