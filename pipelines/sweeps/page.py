"""reports/sweep.html: a sweep on one page that needs nothing else. Pointing at a trial marks it everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from digan.atomic import write_bytes
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps import charts
from pipelines.sweeps.charts import colour
from pipelines.sweeps.outcome import Importance, importances
from pipelines.sweeps.records import FAILED, FINISHED, STOPPED, Records, Trial, best_of
from pipelines.sweeps.space import Parameter

PAGE = Path("reports/sweep.html")

STYLE = """
:root{--ink:#282c34;--soft:#6b7280;--line:#e3e6ea;--paper:#fff;--mark:#2f6fde}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:1060px;padding:24px 16px}
h1{font-size:24px;margin:0 0 4px} h2{font-size:17px;margin:32px 0 8px} p{margin:4px 0;color:var(--soft)}
.wide{overflow-x:auto} table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600} td.text,th.text{text-align:left}
td.reason{white-space:normal;min-width:200px;text-align:left;color:var(--soft)}
tr.best td{font-weight:700} .dot{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:7px}
svg{width:100%;height:auto;display:block} svg text{font:12px system-ui,sans-serif;fill:var(--ink);
paint-order:stroke;stroke:var(--paper);stroke-width:3px} svg .soft{fill:var(--soft)}
.t{transition:opacity .15s} body.on .t{opacity:.12} body.on .t.on{opacity:1} body.on tr.t.on{background:#f1f5fd}
"""
SCRIPT = """
const all=document.querySelectorAll('[data-t]');
all.forEach(e=>{e.addEventListener('mouseenter',()=>{document.body.classList.add('on');
all.forEach(o=>o.classList.toggle('on',o.dataset.t===e.dataset.t))});
e.addEventListener('mouseleave',()=>{document.body.classList.remove('on');all.forEach(o=>o.classList.remove('on'))})});
"""


def write(
    records: Records, parameters: Sequence[Parameter], metric: str, videos: int, length: int, path: Path = PAGE
) -> Path:
    """The page of the sweep as it stands; a sweep that still runs can be looked at too."""
    return write_bytes(path, render(records, parameters, metric, videos, length).encode())


def render(records: Records, parameters: Sequence[Parameter], metric: str, videos: int, length: int) -> str:
    """The page's HTML."""
    trials = records.begun()
    best = best_of(trials)
    counts = ", ".join(
        f"{sum(t.state == state for t in trials)} {state}"
        for state in (FINISHED, STOPPED, FAILED)
        if any(t.state == state for t in trials)
    )
    head = f"{len(trials)} trials: {counts}. {grouped(records.clips)} clips of {grouped(length * len(trials))} that whole trials take."
    stand_in = "" if metric == "fvd" else f" {escape(metric)} is a stand-in, not FVD."
    winner = (
        f"Best: trial {best.number:03d}, {metric} {best.last.value:.4g} at {grouped(best.last.clips_seen)} clips."
        if best and best.last
        else ""
    )
    unsure = f"Each measure is one draw of {videos} videos: differences of some percent are chance.{stand_in}"
    parts = [
        f"<h1>Sweep {escape(records.sweep_id)}</h1><p>{escape(head)} <b>{escape(winner)}</b></p><p>{unsure}</p>",
        "<h2>Trials</h2>" + _table(trials, parameters, metric, best),
        f"<h2>{escape(metric)} over clips seen</h2><p>A cross is where a trial was stopped, a red one where it failed; lower is better.</p>"
        + charts.curves(trials, metric, length),
        "<h2>Parallel coordinates</h2><p>One line a trial; dark lines are better.</p>"
        + charts.parallel(trials, parameters, metric),
        "<h2>What mattered</h2>" + _importance(importances(trials, parameters)),
        "<h2>Cost per trial</h2><p>Seconds of wall time: training, measuring, and the rest (processes, tracking, waiting for room).</p>"
        + charts.costs(trials),
    ]
    body = "\n".join(f"<section>{part}</section>" for part in parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Sweep {escape(records.sweep_id)}</title><style>{STYLE}</style><body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _table(trials: Sequence[Trial], parameters: Sequence[Parameter], metric: str, best: Trial | None) -> str:
    names = ["trial", *(p.name for p in parameters), "clips", metric, "state", "time", "why"]
    text = {"trial", "state", "why"}
    head = "".join(f'<th class="{"text" if n in text else ""}">{escape(n)}</th>' for n in names)
    order = sorted(trials, key=lambda t: (t.state != FINISHED, t.last.value if t.last else float("inf"), t.number))
    lines = []
    for t in order:
        marked = " best" if best and t.number == best.number else ""
        cells = [f'<td class="text"><span class="dot" style="background:{colour(t.number)}"></span>{t.number:03d}</td>']
        cells += [f"<td>{escape(str(t.values[p.name]))}</td>" for p in parameters]
        cells += [f"<td>{grouped(t.clips)}</td>", f"<td>{t.last.value:.4g}</td>" if t.last else "<td></td>"]
        cells += [
            f'<td class="text">{t.state}</td>',
            f"<td>{duration(t.wall)}</td>",
            f'<td class="reason">{escape(t.reason)}</td>',
        ]
        lines.append(f'<tr class="t{marked}" data-t="{t.number}">{"".join(cells)}</tr>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _importance(found: Sequence[Importance]) -> str:
    if not found:
        return "<p>Fewer than four trials have been measured: nothing can be said.</p>"
    said = (
        f"Rank correlation with the measure over {found[0].trials} trials, all at {grouped(found[0].at_clips)} clips, so that stopped "
        "trials count too; for a choice the correlation ratio. Chance: the share of shuffled orders that go as far."
    )
    return f"<p>{said}</p>" + charts.importance(found)
