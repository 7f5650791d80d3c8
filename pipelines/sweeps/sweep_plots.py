"""The plots of a sweep's page as SVG, empty where nothing can be drawn yet; ids ``trial-NUMBER-...`` mark a trial's elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

from pipelines.report.plots import COLORS, log_axis, log_ticks, svg
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, STOPPED, TrialRecord
from pipelines.sweeps.sweep_summary import Importance

WIDTH = 10.0  # inches
GRAY = "#57606a"
PARTS = {"training": "#2f6fde", "measuring": "#7fb3a0", "the rest": "#c9ced6"}  # of a trial's wall time


def curves(trials: Sequence[TrialRecord], metric: str, length: int) -> str:
    """Plot the objective over clips seen, on a logarithmic axis, with crosses where trials were stopped or failed."""
    points = {t.number: [(m.clips_seen, m.value) for m in t.measures if m.value > 0] for t in trials}
    values = [value for listed in points.values() for _, value in listed]
    if not values:
        return ""
    low, high = min(values), max(values)
    color = {trial.number: COLORS[trial.number % len(COLORS)] for trial in trials}  # as on the page

    def draw(axes: Axes) -> None:
        labels: list[tuple[float, float, int]] = []
        for trial in (trial for trial in trials if points[trial.number]):
            clips, given = zip(*points[trial.number], strict=True)
            axes.plot(clips, given, "o-", color=color[trial.number], markersize=4, gid=f"trial-{trial.number}-curve")
            if trial.state in (STOPPED, FAILED):
                ink, gid = "#d00000" if trial.state == FAILED else color[trial.number], f"trial-{trial.number}-end"
                axes.plot(clips[-1:], given[-1:], "x", color=ink, markersize=9, markeredgewidth=2, gid=gid)
            labels.append((clips[-1], math.log(given[-1]), trial.number))
        lowest: dict[float, float] = {}  # keeps labels at the same clips apart
        for clips_seen, height, number in sorted(labels):
            lowest[clips_seen] = max(height, lowest.get(clips_seen, -math.inf) + 0.045 * math.log(high / low))
            point, text, gid = (clips_seen, math.exp(lowest[clips_seen])), f"{number:03d}", f"trial-{number}-label"
            label = axes.annotate(text, point, (9, 0), textcoords="offset points", va="center", fontsize=9, gid=gid)
            label.set_color(color[number])
        log_axis(axes.yaxis, low, high)
        axes.set_xlim(0, length * 1.02)
        axes.xaxis.set_major_formatter(lambda clips, _: grouped(round(clips)))
        axes.grid(axis="y", color="#e3e6ea")
        axes.set(xlabel="clips seen", ylabel=metric)

    return svg(draw, WIDTH, 4.0)


def parallel(trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter], metric: str) -> str:
    """Plot parameters and the last value of the objective as vertical axes, a line per trial; darker lines are better."""
    shown = sorted((t for t in trials if t.measures and t.value > 0), key=lambda t: -t.value)
    if not shown:
        return ""
    columns = [(p.name, *_scaled(p, [t.values[p.name] for t in shown])) for p in parameters]
    low, high = shown[-1].value, shown[0].value
    heights = _heights([t.value for t in shown], low, high, log=True)
    columns.append((metric, heights, [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]))

    def draw(axes: Axes) -> None:
        shade = LinearSegmentedColormap.from_list("results", ["#c9ced6", "#12306b"])
        for rank, trial in enumerate(shown):
            share = rank / max(1, len(shown) - 1)
            heights = [given[rank] for _, given, _ in columns]
            dashes = "--" if trial.state in (STOPPED, FAILED) else "-"
            (line,) = axes.plot(range(len(columns)), heights, dashes, color=shade(share), linewidth=1.2 + share)
            line.set_gid(f"trial-{trial.number}-parallel")
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        for x, (name, _, ticks) in enumerate(columns):
            axes.axvline(x, color="#6b7280", linewidth=1)
            axes.text(x, 1.1, name, ha="center", va="bottom", fontsize=10)
            for height, text in ticks:
                axes.text(x - 0.015, height, text, ha="right", va="center", fontsize=9, color=GRAY, bbox=box)
        axes.set_axis_off()

    return svg(draw, WIDTH, 3.6)


def importance(found: Sequence[Importance]) -> str:
    """Plot a bar per parameter, to the left where higher values are better, to the right where lower ones are."""

    def draw(axes: Axes) -> None:
        for row, one in enumerate(found):
            axes.barh(row, one.strength, height=0.7, color=COLORS[0], alpha=1.0 if one.chance < 0.05 else 0.35)
            axes.text(1.05, row, f"{one.strength:+.2f}, chance {one.chance:.2f}", va="center", fontsize=9, color=GRAY)
        axes.axvline(0, color="#6b7280", linewidth=1)
        axes.set_yticks(range(len(found)), [one.name for one in found])
        axes.set(xlim=(-1, 1), xticks=[], xlabel="higher is better   |   lower is better")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.invert_yaxis()

    return svg(draw, WIDTH, 0.3 * len(found) + 0.7) if found else ""


def costs(trials: Sequence[TrialRecord]) -> str:
    """Plot the wall time of each trial: training, measuring, the rest."""
    longest = max([1.0, *(trial.wall for trial in trials)])

    def draw(axes: Axes) -> None:
        for row, trial in enumerate(trials):
            measuring = sum(m.seconds for m in trial.measures)
            training = max(0.0, min(trial.seconds, trial.wall) - measuring)
            seconds, start = (training, measuring, max(0.0, trial.wall - training - measuring)), 0.0
            for (name, fill), width in zip(PARTS.items(), seconds, strict=True):
                (bar,) = axes.barh(row, width, left=start, height=0.7, color=fill, label="" if row else name)
                bar.set_gid(f"trial-{trial.number}-{name.replace(' ', '-')}")
                start += width
            starts = f", {trial.starts} starts" if trial.starts > 1 else ""
            text, gid = f"{duration(trial.wall)}, {grouped(trial.clips)} clips{starts}", f"trial-{trial.number}-cost"
            axes.text(start + 0.01 * longest, row, text, va="center", fontsize=9, color=GRAY, gid=gid)
        axes.set_yticks(range(len(trials)), [f"{trial.number:03d}" for trial in trials])
        axes.set_xlim(0, 1.25 * longest)
        axes.xaxis.set_major_formatter(lambda seconds, _: duration(seconds))
        axes.invert_yaxis()
        axes.legend(frameon=False, ncols=len(PARTS), loc="upper left", bbox_to_anchor=(0, -0.6 / len(trials)))

    return svg(draw, WIDTH, 0.28 * len(trials) + 1.0) if trials else ""


def _scaled(parameter: SearchParameter, given: list[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return heights in [0, 1] of the given values on a parameter's axis, and its ticks."""
    if parameter.finite:
        names = [str(value) for value in parameter.values]
        height = {name: number / max(1, len(names) - 1) for number, name in enumerate(names)}
        return [height.get(str(value), 0.0) for value in given], [(h, name or '""') for name, h in height.items()]
    low, high, log = min([parameter.low, *given]), max([parameter.high, *given]), parameter.logarithmic
    ticks = log_ticks(low, high) if log else [low, (low + high) / 2, high]
    labels = [f"{value:.4g}" for value in ticks]
    return _heights(given, low, high, log), list(zip(_heights(ticks, low, high, log), labels, strict=True))


def _heights(values: Sequence[float], low: float, high: float, log: bool) -> list[float]:
    """Return heights in [0, 1] on an axis from ``low`` to ``high``; 0 if the two are equal."""
    heights: list[float] = np.asarray((LogNorm if log else Normalize)(low, high)(values)).tolist()
    return heights
