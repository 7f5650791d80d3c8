"""reports/sweep.html: a sweep on one self-contained page. Pointing at a trial marks it in the table and in all plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from digan.atomic import write_text
from pipelines.report.html_page import render
from pipelines.report.plots import COLORS
from pipelines.sweeps import sweep_plots
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import ENDS, FINISHED, SweepState, best_of
from pipelines.sweeps.sweep_summary import importances

PAGE = Path("reports/sweep.html")


def write(state: SweepState, parameters: Sequence[SearchParameter], metric: str, videos: int, length: int) -> Path:
    """Write the page of a sweep that has ended or is running; ``length`` is the number of clips of a finished trial."""
    trials = state.launched()
    states = [trial.state for trial in trials]
    ranking = importances(trials, parameters)
    page = render(
        "sweep.html.jinja",
        state=state,
        counts=", ".join(f"{states.count(end)} {end}" for end in ENDS if end in states),
        trials=sorted(trials, key=lambda t: (t.state != FINISHED, t.value, t.number)),
        best=best_of(trials),
        names=[parameter.name for parameter in parameters],
        metric=metric,
        videos=videos,
        length=length,
        colors=COLORS,
        ranking=ranking,
        curves=sweep_plots.curves(trials, metric, length),
        parallel=sweep_plots.parallel(trials, parameters, metric),
        importance=sweep_plots.importance(ranking),
        costs=sweep_plots.costs(trials),
    )
    return write_text(PAGE, page)
