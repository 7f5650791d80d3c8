"""An evaluation's result: JSON in and out, and its renderings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from digan.errors import UserError
from digan.metrics.uncertainty import Extrapolation, Interval
from pipelines.evaluation.result import EvaluationResult, MetricSummary

INTERVAL = Interval(low=9.0, high=12.0, std=0.7, level=0.95, resamples=100)
FIT = Extrapolation(infinite=8.0, slope=1.0, error=0.25, r2=0.5, trusted=False, counts=(1, 2), values=(1.0, 2.0))
FRECHET = MetricSummary.of([10.0, 11.0], real_vs_real=1.5, untrained=40.0, interval=INTERVAL, infinite=FIT)
RESULT = EvaluationResult(
    metric="fvd",
    metrics={"fvd": FRECHET, "kvd": MetricSummary.of([0.5, 0.7], untrained=2.0)},
    clips_seen=120,
    generator="outputs/train/generator",
    protocol_text="quick: 8 videos",
    videos=8,
    draws=2,
    seed=3,
    is_stand_in=False,
    detector="i3d",
    detector_digest="d" * 64,
    data_digest="a" * 64,
)


def test_json_has_the_known_values_in_order() -> None:
    content = RESULT.to_json()
    assert list(content)[:4] == ["metric", "fvd", "kvd", "clips_seen"]
    assert list(content["fvd"].items()) == [
        ("mean", 10.5),
        ("std", math.sqrt(0.5)),
        ("spread", math.sqrt(0.5)),
        ("low", 9.5),
        ("high", 12.5),
        ("bootstrap_std", 0.7),
        ("real_vs_real", 1.5),
        ("untrained", 40.0),
        ("ratio_to_untrained", 10.5 / 40),
        ("infinite", 8.0),
        ("infinite_error", 0.25),
        ("infinite_r2", 0.5),
        ("infinite_trusted", 0.0),
    ]
    assert set(content["kvd"]) == {"mean", "std", "spread", "untrained", "ratio_to_untrained"}
    assert "truncation" not in content and "notes" not in content


def test_json_round_trip(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({**RESULT.to_json(), "key_of_a_later_version": 1}))
    again = EvaluationResult.read(tmp_path / "result.json", source="p", remedy="r")
    assert again.to_json() == RESULT.to_json()
    assert again.text() == RESULT.text() and again.markdown() == RESULT.markdown()


def test_spread_is_the_larger_of_draws_and_bootstrap() -> None:
    assert MetricSummary.of([10.0], interval=INTERVAL).spread == 0.7
    assert MetricSummary.of([10.0]).std == 0.0 and math.isnan(MetricSummary.of([10.0]).spread)


def test_text_table_and_markdown_show_the_same_values() -> None:
    text, markdown = RESULT.text(), RESULT.markdown()
    assert text.startswith("fvd: 10.5 +- 0.71, lower is better\n") and "stand-in" not in text
    for value in ("9.5 to 12.5", "1.5", "40", "0.263", "8 +- 0.25; too few clips to trust it"):
        assert value in text and value in markdown, value
    for fact in ("2 draws of 8 videos", "quick: 8 videos", "120 clips seen", "i3d dddddddddddd"):
        assert fact in text, fact
    head, rows = RESULT.table()
    assert head == ("", "fvd", "kvd") and all(len(row) == 3 for row in rows)
    assert ("real vs. real", "1.5", "-") in rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], r"here: holds no metric \(.*\); remedy"),
        ({}, r"here: holds no metric \(TypeError"),
        ({"metric": "fvd"}, r"here: holds no metric \(KeyError: 'fvd'\); remedy"),
        ({"metric": "fvd", "fvd": {"mean": "x"}}, r"here: holds no metric \(ValueError"),
    ],
)
def test_other_json_is_rejected_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        EvaluationResult.read(tmp_path / "result.json", source="here", remedy="remedy")


def test_what_is_no_json_is_rejected_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"here: no such file; remedy"):
        EvaluationResult.read(tmp_path / "result.json", source="here", remedy="remedy")
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"here: is not JSON \(.*, line 1\); remedy"):
        EvaluationResult.read(tmp_path / "result.json", source="here", remedy="remedy")


def test_value_for_comparison_needs_digests_and_protocol() -> None:
    value = RESULT.value("{protocol_text}, seed {seed}", source="here", remedy="remedy")
    assert (value.value, value.spread, value.protocol) == (10.5, math.sqrt(0.5), "quick: 8 videos, seed 3")
    with pytest.raises(UserError, match="here: holds no metric \\(no 'truncation'\\); remedy"):
        RESULT.value("{truncation}", source="here", remedy="remedy")
