"""The picture of an evaluation's distances."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from pipelines.media.write import write_bytes


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
