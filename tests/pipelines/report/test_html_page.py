"""The template of all pages: values are escaped, and hovering over a trial highlights it everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipelines.report.html_page import render
from pipelines.report.plots import lines_svg, log_ticks
from pipelines.sweeps import sweep_page
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, FINISHED, open_sweep
from tests.browser import browser
from tests.pipelines.sweeps.small_sweep import GAMMA, LENGTH, trial

EVIL = "<script>alert(1)</script>'\"&$x$"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a sweep with a hostile parameter, value and error text."""
    monkeypatch.chdir(tmp_path)
    records = open_sweep(tmp_path / "tune", {"tune": {"seed": 0}})
    parameter = SearchParameter(name=f"training.{EVIL}", kind="choice", values=(EVIL, "b"))
    for number in range(5):
        state, reason = (FAILED, EVIL) if number == 1 else (FINISHED, "")
        one = trial(number, 9.0 + number, 8.0 + number, gamma=0.1 + number, state=state, reason=reason)
        values = {**one.values, parameter.name: EVIL if number % 2 else "b"}
        measures = tuple(replace(measure, values=values) for measure in one.measures)
        records.put(replace(one, values=values, measures=measures))
    return sweep_page.write(records, [GAMMA, parameter], f"x{EVIL}", 8, LENGTH).absolute()


def test_text_in_plots_is_escaped() -> None:
    assert lines_svg({EVIL: [(1, 2), (2, 3)]}, y=EVIL).count("&lt;script&gt;") == 2


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("sweep.html.jinja", state=None)


def test_values_of_a_sweep_page_are_escaped(sweep: Path) -> None:
    text = sweep.read_text()
    assert text.count("<script") == 1 and "<script>alert" not in text  # the page's own
    assert text.count("<svg") == 4 and text.count("&lt;script&gt;") > 10


def test_hovering_over_a_row_highlights_the_trial_in_every_plot(sweep: Path) -> None:
    with browser(1100, 900) as chromium:
        chromium.get(sweep.as_uri())
        marked = chromium.execute_script(
            "document.querySelector('tr[data-trial=\"1\"]').dispatchEvent(new Event('mouseenter'));"
            "return [...document.querySelectorAll('.marked')].map(e => e.id)"
        )
        assert {f"trial-1-{part}" for part in ("curve", "end", "label", "parallel", "training", "cost")} <= set(marked)
        assert not [name for name in marked if name and not name.startswith("trial-1-")]
        assert chromium.execute_script("return document.querySelector('#trial-1-curve title').textContent") == (
            f"trial 001 failed {EVIL}"
        )


def test_log_ticks_are_few_and_within_the_range() -> None:
    assert log_ticks(0.1, 10) == [0.1, 0.2, 0.5, 1, 2, 5, 10]
    assert log_ticks(10.1, 19) == [10.1, 19]
    assert 3 <= len(log_ticks(1e-9, 1e9)) <= 11
