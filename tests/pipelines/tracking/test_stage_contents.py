"""Stages end with the address of their runs in MLflow; a sweep's parent run has data set, description and parameters file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from digan.atomic import write_json
from digan.errors import UserError
from pipelines import params, train, tune
from pipelines.cluster import training_driver
from pipelines.dataset.shard_index import read_index
from pipelines.sweeps import sweep_run
from pipelines.sweeps.sweep_state import SweepState
from pipelines.tracking import runs
from tests.pipelines.sweeps.small_sweep import write_sweep


@pytest.mark.parametrize("stage", [train, tune])
def test_stage_ends_with_the_address_of_its_runs(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    monkeypatch.chdir(tmp_path)

    def work(*_: object, output: Path, **__: object) -> SweepState:
        write_json(output / "run.json", {"run_id": "r", "experiment_id": "7"})
        return SweepState(output)

    monkeypatch.setattr(training_driver, "train", work)
    monkeypatch.setattr(sweep_run, "run_sweep", work)
    stage.main()
    last = capsys.readouterr().out.splitlines()[-1]
    name = stage.__name__.rpartition(".")[2]
    assert last.startswith(f"{name}: MLflow: .venv/bin/mlflow ui --workers 1 --backend-store-uri sqlite:///{tmp_path}")
    assert last.endswith("then http://127.0.0.1:5000/#/experiments/7/runs")


def test_parent_run_of_a_sweep_has_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sweep(tmp_path, space={"training.r1_gamma": {"loguniform": [0.1, 10.0]}})
    monkeypatch.chdir(tmp_path)
    settings = params.load()

    def stop(*_: object) -> None:
        raise UserError("stopped before Ray starts")

    monkeypatch.setattr(sweep_run.objective, "prepare", lambda *_: "frechet_transnetv2")
    monkeypatch.setattr(sweep_run, "_cluster", stop)
    for _ in range(2):  # the second launch resumes the sweep
        with pytest.raises(UserError, match="stopped before Ray starts"):
            sweep_run.run_sweep(settings, shards=Path("outputs/shards"), output=Path("outputs/tune"))
    mlflow, run_id = runs.client(settings.tracking), runs.read_run_id(Path("outputs/tune/run.json"))
    run, index = mlflow.get_run(run_id), read_index(Path("outputs/shards"))
    (found,) = run.inputs.dataset_inputs
    assert found.dataset.digest == index.digest[:36] and json.loads(found.dataset.profile)["digest"] == index.digest
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "tuning"}
    text = run.data.tags["mlflow.note.content"]
    assert text.startswith("A sweep of 4 trials over `training.r1_gamma`") and "240 clips" in text
    (tmp_path / "copy").mkdir()
    file = mlflow.download_artifacts(run_id, "params.yaml", str(tmp_path / "copy"))
    assert YAML(typ="safe", pure=True).load(Path(file)) == settings.as_dict()
