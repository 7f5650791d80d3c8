"""Matplotlib plots: distances of an evaluation as PNG, and SVG for HTML pages."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from digan.atomic import write_bytes

COLORS = ("#2f6fde", "#c4570f", "#2e9e6b", "#7a5bd0", "#b3406e", "#8a6d3b", "#1f9bb5", "#c2483a", "#5d6b82", "#a3a025")

Points = Sequence[tuple[float, ...]]


def distance_plot(
    path: Path, *, title: str, metric: str, draws: Sequence[float], real_vs_real: float, untrained: float
) -> Path:
    """Plot the distances of the untrained and the trained generator and of real vs. real, on a logarithmic axis."""
    names = ("untrained generator", "this generator", "real vs. real")
    values = (untrained, sum(draws) / len(draws), real_vs_real)
    figure = Figure(figsize=(7.2, 2.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, values, color=("#b8bec9", "#2f6fde", "#5aa469"), height=0.6)
    axes.plot(draws, [1] * len(draws), "o", color="#12306b", markersize=4)
    if positive := [value for value in values if value > 0]:
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 2, max(positive) * 3)
    for row, value in enumerate(values):
        axes.annotate(f"{value:.4g}", (value, row), xytext=(8, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric} (lower is better)")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return write_bytes(path, stream.getvalue())


def lines_svg(
    lines: Mapping[str, Points], *, y: str, band: Points = (), log: bool = False, points: bool = False
) -> str:
    """Plot named lines of (clips seen, value) and a ``band`` of (clips seen, low, high) -> an SVG element."""

    def draw(axes: Axes) -> None:
        if band:
            clips, low, high = zip(*band, strict=True)
            axes.fill_between(clips, low, high, color=COLORS[0], alpha=0.18, linewidth=0, label="95 % interval")
        for number, (name, values) in enumerate(lines.items()):
            color, style = COLORS[number % len(COLORS)], "o-" if points else "-"
            axes.plot(*zip(*values, strict=True), style, color=color, markersize=4, linewidth=1.5, label=name)
        if log:
            heights = [height for _, *found in chain(*lines.values(), band) for height in found]
            log_axis(axes.yaxis, min(heights), max(heights))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.set(xlabel="clips seen", ylabel=y)
        axes.legend(frameon=False, fontsize=9)

    return svg(draw, 5.6, 3.2)


def svg(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """Let ``draw`` plot on axes of ``width`` x ``height`` inches -> an SVG element whose text is never read as math."""
    with rc_context({"svg.hashsalt": "digan", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = stream.getvalue()
    return text[text.index("<svg") :]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from ``low`` to ``high``; fewer if these are too many, the ends if too few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(inside) > 10:
        return [10.0**e for e in range(first, last + 1, -(-(last - first) // 10)) if low <= 10.0**e <= high]
    return inside if len(inside) >= 3 else [low, *inside, high]


def log_axis(axis: Axis, low: float, high: float) -> None:
    """Make an axis logarithmic with plain numbers at ``log_ticks``."""
    axis.axes.set_yscale("log")
    ticks = log_ticks(low, high)
    axis.set_ticks(ticks, [f"{value:.4g}" for value in ticks])
    axis.set_minor_locator(NullLocator())
