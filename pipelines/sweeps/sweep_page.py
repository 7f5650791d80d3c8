"""reports/sweep.html: a sweep on one self-contained page. Pointing at a trial marks it in the table and in all plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import write_text
from pipelines.report import html_page as pages
from pipelines.report.html_page import Figure, Paragraph, Section, Table, TrialRow
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps import sweep_plots
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import ENDS, FINISHED, SweepState, TrialRecord, best_of
from pipelines.sweeps.sweep_summary import importances

PAGE = Path("reports/sweep.html")


def write(
    state: SweepState, parameters: Sequence[SearchParameter], metric: str, videos: int, length: int, path: Path = PAGE
) -> Path:
    """Write the page of a sweep that has ended or is running; ``length`` is the number of clips of a finished trial."""
    trials = state.launched()
    states = [trial.state for trial in trials]
    counts = ", ".join(f"{states.count(end)} {end}" for end in ENDS if end in states)
    clips = f"{grouped(state.clips)} clips, {grouped(length * len(trials))} if no trial were stopped"
    stand_in = "" if metric == "fvd" else f" {metric} is a stand-in, not FVD."
    noise = f"Each measurement is one draw of {videos} videos: differences of a few percent are noise.{stand_in}"
    lead = [Paragraph(text=f"{len(trials)} trials: {counts}. {clips}."), Paragraph(style="soft", text=noise)]
    best, found = best_of(trials), importances(trials, parameters)
    if best and best.last:
        last = f"{metric}, best: trial {best.number:03d} at {grouped(best.last.clips_seen)} clips."
        lead.insert(0, Paragraph(big=f"{best.last.value:.4g}", text=last))
    plots = {
        f"{metric} over clips seen": (
            "A cross marks where a trial was stopped, a red one where it failed. Lower is better.",
            sweep_plots.curves(trials, metric, length),
        ),
        "Parallel coordinates": (
            "One line per trial. Darker lines are better; dashed lines are trials that were stopped or failed.",
            sweep_plots.parallel(trials, parameters, metric),
        ),
        "Importance of parameters": (
            f"Rank correlation with the objective over {found[0].trials} trials, all at {grouped(found[0].at_clips)} clips, so "
            "that stopped trials count too; for a choice, the correlation ratio. Chance: the share of permutations that "
            "reach as much. Bars to the left: higher values are better; to the right: lower; pale: may well be chance."
            if found
            else "",
            sweep_plots.importance(found),
        ),
        "Cost per trial": (
            "Wall time: training, measuring, and the rest (processes, tracking, waiting for room).",
            sweep_plots.costs(trials),
        ),
    }
    sections = [Section(title="Trials", tables=[_table(trials, parameters, metric, best)])]
    for title, (text, svg) in plots.items():
        text = text if svg else "Not enough has been measured yet."
        sections.append(Section(title=title, paragraphs=[text], figures=[Figure(svg=svg)] if svg else []))
    return write_text(path, pages.page(f"Sweep {state.sweep_id}", lead, sections, marks_trials=True))


def _table(
    trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter], metric: str, best: TrialRecord | None
) -> Table:
    rows = [
        TrialRow(
            cells=(
                f"{trial.number:03d}",
                *(str(trial.values[p.name]) for p in parameters),
                grouped(trial.clips),
                f"{trial.last.value:.4g}" if trial.last else "",
                trial.state,
                duration(trial.wall),
                trial.reason,
            ),
            number=trial.number,
            color=sweep_plots.color(trial.number),
            tip=f"trial {trial.number:03d} {trial.state} {trial.reason}".rstrip(),
            best=trial is best,
        )
        for trial in sorted(trials, key=lambda t: (t.state != FINISHED, t.last.value if t.last else math.inf, t.number))
    ]
    return Table(head=("trial", *(p.name for p in parameters), "clips", metric, "state", "time", "reason"), rows=rows)
