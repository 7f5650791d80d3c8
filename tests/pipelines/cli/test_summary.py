"""The last word of `make demo`: the figures, the version, where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.cli import summary
from pipelines.evaluation.result import EvaluationResult, MetricSummary
from pipelines.tracking.runs import TrackingConfig

METRICS = EvaluationResult(
    metric="frechet_x",
    metrics={"frechet_x": MetricSummary.of([12.0, 12.5, 13.0], real_vs_real=3.25, untrained=50.0)},
    draws=3,
    videos=256,
    is_stand_in=True,
)
RESULT = {"model": "toy", "alias": "champion", "version": 4, "reason": "the first of its name"}


def test_says_all_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "strip:   outputs/showcase/outputs/evaluation/strip.png",
        "classes: outputs/showcase/outputs/evaluation/classes.png",
        "page:    outputs/showcase/reports/evaluation.html",
        "videos.mp4",
    ]
    parts += ["mlflow ui", "mlflow.db", "stand-in and no FVD"]
    assert [part for part in parts if part not in text] == []


def test_a_server_is_named_by_its_address() -> None:
    config = TrackingConfig(uri="http://tracking:5000", experiment="e")
    assert summary.how_to_open(config) == "http://tracking:5000"


def test_before_the_line_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"metrics/evaluation\.json: missing; run `make demo`"):
        summary.main([])
