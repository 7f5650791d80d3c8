"""Plots: the picture of an evaluation's distances, and lines over clips seen as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from digan.atomic import write_bytes


def distance_plot(
    path: Path, *, title: str, metric: str, draws: Sequence[float], floor: float, untrained: float
) -> Path:
    """Trained generator's draws between the floor and the untrained generator, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mean = sum(draws) / len(draws)
    bars = [
        ("untrained generator", untrained, "#b8bec9"),
        ("this generator", mean, "#2f6fde"),
        ("real clips (floor)", floor, "#5aa469"),
    ]
    figure = Figure(figsize=(7.2, 2.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.barh([name for name, _, _ in bars], [value for _, value, _ in bars], color=[c for _, _, c in bars], height=0.6)
    axes.plot(draws, [1] * len(draws), "o", color="#12306b", markersize=4, label=f"{len(draws)} draws")
    positive = [value for _, value, _ in bars if value > 0]
    if positive:
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 2, max(positive) * 3)
    for place, (_, value, _) in enumerate(bars):
        axes.annotate(f"{value:.4g}", (value, place), xytext=(8, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric} (lower is better)")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    memory = io.BytesIO()
    FigureCanvasAgg(figure).print_png(memory)
    return write_bytes(path, memory.getvalue())


def lines_svg(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    y: str,
    x: str = "clips seen",
    band: Sequence[tuple[float, float, float]] = (),
    level: tuple[str, float] | None = None,
    log: bool = False,
    points: bool = False,
) -> str:
    """Lines by name through (x, y), with a ``band`` of (x, low, high) and a horizontal ``level`` -> an SVG element."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    if band:
        places, low, high = zip(*band, strict=True)
        axes.fill_between(places, low, high, color="#2f6fde", alpha=0.18, linewidth=0, label="95 % interval")
    for (name, values), color in zip(lines.items(), COLORS * len(lines), strict=False):
        axes.plot(
            *zip(*values, strict=True), "o-" if points else "-", color=color, markersize=4, linewidth=1.5, label=name
        )
    if level is not None:
        axes.axhline(level[1], color="#5aa469", linestyle="--", linewidth=1.2, label=level[0])
    if log:
        axes.set_yscale("log")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    memory = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "digan", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(memory, metadata={"Date": None})
    text = memory.getvalue()
    return text[text.index("<svg") :]


COLORS = ["#2f6fde", "#c4570f", "#5aa469", "#7a4fbf", "#b8860b", "#57606a"]
