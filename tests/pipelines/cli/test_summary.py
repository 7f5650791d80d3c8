"""The summary of `make demo`, and the modules that `make showcase` runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.cli import showcase, summary
from pipelines.evaluation.result import EvaluationResult, MetricSummary
from pipelines.tracking.runs import TrackingConfig

METRICS = EvaluationResult(
    metric="frechet_x",
    metrics={"frechet_x": MetricSummary.of([12.0, 12.5, 13.0], real_vs_real=3.25, untrained=50.0)},
    draws=3,
    videos=256,
    is_stand_in=True,
)
RESULT = {"model": "toy", "alias": "champion", "version": 4, "reason": "first version"}


def test_summary_shows_values_version_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outputs/showcase"  # where make showcase runs, while the user is in tmp_path
    (inner / "outputs/evaluation").mkdir(parents=True)
    monkeypatch.chdir(inner)
    (inner / "outputs/evaluation/classes.png").touch()
    text = summary.text(METRICS, RESULT, TrackingConfig(uri="", experiment="e"), tmp_path)
    parts = [
        "frechet_x: 12.5 +- 0.5",
        "3.25",
        "50",
        "ratio to the untrained generator  0.250",
        "models:/toy@champion, version 4",
        "finer:   outputs/showcase/outputs/evaluation/finer.png",
        "sheet:   outputs/showcase/outputs/evaluation/strip.png",
        "classes: outputs/showcase/outputs/evaluation/classes.png",
        "page:    outputs/showcase/reports/evaluation.html",
        "videos.mp4",
    ]
    parts += ["mlflow ui", "mlflow.db", "stand-in and no FVD"]
    assert [part for part in parts if part not in text] == []


def test_summary_of_an_experiment_names_a_model_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = summary.text(METRICS, RESULT | {"version": None}, TrackingConfig(uri="", experiment="e"), tmp_path)
    assert "models:/toy@champion, which it would be (not registered): first version" in text
    assert "sample --model outputs/evaluation/generator --seed" in text


def test_tracking_server_is_shown_by_its_address() -> None:
    config = TrackingConfig(uri="http://tracking:5000", experiment="e")
    assert summary.how_to_open(config, None) == "http://tracking:5000"
    assert summary.how_to_open(config, "7") == "http://tracking:5000/#/experiments/7/runs"


def test_summary_links_to_the_table_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs/train").mkdir(parents=True)
    Path("outputs/train/run.json").write_text('{"run_id": "r", "experiment_id": "3"}')
    text = summary.text(METRICS, RESULT, TrackingConfig(uri="", experiment="e"), tmp_path)
    assert "then http://127.0.0.1:5000/#/experiments/3/runs" in text


def test_summary_without_results_names_the_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"metrics/evaluation\.json: no such file; run `dvc repro evaluate`"):
        summary.main([])


def test_showcase_runs_modules_that_exist() -> None:
    assert all(importlib.util.find_spec(f"pipelines.{name}") for name in showcase.MODULES)
