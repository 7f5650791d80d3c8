"""What a run's page shows: data set, description, parameters file, and the address of the table of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.cluster import training_driver
from pipelines.dataset.shard_index import read_index
from pipelines.tracking import run_contents, runs
from pipelines.tracking.store import TrackingConfig
from tests.pipelines.small_run import write_params, write_shards


def test_a_training_logs_data_set_description_and_parameters_once(store: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", classes=("one", "two"))
    params, index = write_params(tmp_path), read_index(tmp_path / "shards")
    config = runs.resolved(TrackingConfig(uri="", experiment="contents"), store)
    run_id = runs.open_run(config, {}, {}, tmp_path / "run.json")
    dataset = training_driver.tracked_dataset(index, "training")
    text = training_driver._description(index, params.training, params.cluster)
    for _ in range(2):  # as a resumed run does
        run_contents.log_contents(config, run_id, dataset=dataset, description=text, params=params.as_dict())

    mlflow = runs.client(config)
    run = mlflow.get_run(run_id)
    (found,) = run.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("shards", index.digest[:36])
    assert json.loads(found.dataset.source) == {"uri": index.address}
    assert json.loads(found.dataset.profile)["digest"] == index.digest
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}
    assert run.data.tags["mlflow.note.content"].startswith("DIGAN trained on shards at 32x32, 4 frames, 2 classes: 240")
    file = mlflow.download_artifacts(run_id, "params.yaml", str(tmp_path))
    assert YAML(typ="safe").load(Path(file).read_text()) == params.as_dict()


def test_credentials_stay_out_of_a_run(store: Path, tmp_path: Path) -> None:
    config = runs.resolved(TrackingConfig(uri="", experiment="contents"), store)
    run_id, address = runs.open_run(config, {}, {}), "s3://key:secret123@host/bucket"
    dataset = run_contents.TrackedDataset(name="d", digest="1", address=address, profile={}, context="training")
    params = {"source": {"path": address}}
    run_contents.log_contents(config, run_id, dataset=dataset, description=address, params=params)
    run = runs.client(config).get_run(run_id)
    file = runs.client(config).download_artifacts(run_id, "params.yaml", str(tmp_path))
    assert run.inputs.dataset_inputs[0].dataset.source_type == "s3"
    assert "secret123" not in f"{run.to_dictionary()}{Path(file).read_text()}"


@pytest.mark.parametrize(
    ("uri", "server"),
    [("sqlite:////a/mlflow.db", "http://127.0.0.1:5000"), ("https://host/mlflow/", "https://host/mlflow")],
)
def test_runs_page_is_the_table_of_runs(uri: str, server: str) -> None:
    config = TrackingConfig(uri=uri, experiment="e")
    assert run_contents.runs_page(config, "12") == f"{server}/#/experiments/12/runs"
    assert run_contents.how_to_open(config, "12").endswith(f"{server}/#/experiments/12/runs")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"run_id": "r"}'])
def test_unusable_run_file_has_no_experiment(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert runs.read_experiment_id(tmp_path / "run.json") is None
