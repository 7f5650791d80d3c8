"""reports/sweep.html: a sweep on one page that needs nothing else. Pointing at a trial marks it everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from digan.atomic import write_text
from pipelines.report import html_page as pages
from pipelines.report.html_page import Figure, Paragraph, Section, Table, TrialRow
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps import sweep_plots
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import ENDS, FINISHED, SweepState, TrialRecord, best_of
from pipelines.sweeps.sweep_summary import Importance, importances

PAGE = Path("reports/sweep.html")


def write(
    records: SweepState, parameters: Sequence[SearchParameter], metric: str, videos: int, length: int, path: Path = PAGE
) -> Path:
    """Write the page of a sweep that has ended or still runs; ``length`` is that of a whole trial in clips."""
    trials = records.begun()
    states = [trial.state for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ENDS if state in states)
    clips = f"{grouped(records.clips)} clips of {grouped(length * len(trials))} that whole trials take"
    stand_in = "" if metric == "fvd" else f" {metric} is a stand-in, not FVD."
    best = best_of(trials)
    lead = [
        Paragraph(text=f"{len(trials)} trials: {counts}. {clips}."),
        Paragraph(
            style="soft",
            text=f"Each measure is one draw of {videos} videos: differences of some percent are chance.{stand_in}",
        ),
    ]
    if best and best.last:
        last = f"{metric}, best: trial {best.number:03d} at {grouped(best.last.clips_seen)} clips."
        lead.insert(0, Paragraph(big=f"{best.last.value:.4g}", text=last))
    found = importances(trials, parameters)
    sections = [
        Section(title="Trials", tables=[_table(trials, parameters, metric, best)]),
        _plot(
            f"{metric} over clips seen",
            "A cross is where a trial was stopped, a red one where it failed; lower is better.",
            sweep_plots.curves(trials, metric, length),
        ),
        _plot(
            "Parallel coordinates",
            "One line per trial: dark lines are better, dashed ones did not come to their end.",
            sweep_plots.parallel(trials, parameters, metric),
        ),
        _plot("What mattered", _about(found), sweep_plots.importance(found)),
        _plot(
            "Cost per trial",
            "Wall time: training, measuring, and the rest (processes, tracking, waiting for room).",
            sweep_plots.costs(trials),
        ),
    ]
    return write_text(path, pages.page(f"Sweep {records.sweep_id}", lead, sections, marks_trials=True))


def _plot(title: str, text: str, svg: str) -> Section:
    if not svg:
        return Section(title=title, paragraphs=["Too little has been measured yet."])
    return Section(title=title, paragraphs=[text], figures=[Figure(svg=svg)])


def _table(
    trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter], metric: str, best: TrialRecord | None
) -> Table:
    order = sorted(trials, key=lambda t: (t.state != FINISHED, t.last.value if t.last else float("inf"), t.number))
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
            best=best is not None and trial.number == best.number,
        )
        for trial in order
    ]
    return Table(head=("trial", *(p.name for p in parameters), "clips", metric, "state", "time", "why"), rows=rows)


def _about(found: Sequence[Importance]) -> str:
    if not found:
        return ""
    return (
        f"Rank correlation with the objective over {found[0].trials} trials, all at {grouped(found[0].at_clips)} clips, so"
        " that stopped trials count too; for a choice, the correlation ratio. Chance: the share of shuffled orders that"
        " reach as much. Bars to the left: more of it is better; to the right: less; pale: may well be chance."
    )
