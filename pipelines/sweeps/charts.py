"""The charts of a sweep's page, as SVG text. Everything of a trial carries its number, so that the page can mark it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from pipelines.report.text_format import duration, grouped
from pipelines.sweeps.outcome import Importance
from pipelines.sweeps.records import FAILED, STOPPED, Trial
from pipelines.sweeps.space import Parameter

COLOURS = ("#2f6fde", "#e07a1f", "#2e9e6b", "#b3406e", "#7a5bd0", "#8a6d3b", "#1f9bb5", "#c2483a", "#5d6b82", "#a3a025")
WIDTH = 1000


def colour(number: int) -> str:
    """A trial's colour on the page."""
    return COLOURS[number % len(COLOURS)]


def curves(trials: Sequence[Trial], metric: str, length: int) -> str:
    """The objective over clips seen, on a logarithmic axis, with the ends of stopped and failed trials."""
    values = [m.value for t in trials for m in t.measures if m.value > 0]
    if not values:
        return "<p>Nothing has been measured yet.</p>"
    height, left, right, top, bottom = 380, 70, 60, 12, 42
    y = _log_scale(min(values), max(values), height - bottom, top)
    x = _scale(0, length, left, WIDTH - right)
    out = []
    for value in _log_ticks(min(values), max(values)):
        out.append(f'<line x1="{left}" x2="{WIDTH - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e3e6ea"/>')
        out.append(f'<text class="soft" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for share in range(5):
        clips = length * share / 4
        out.append(
            f'<text class="soft" x="{x(clips):.1f}" y="{height - 22}" text-anchor="middle">{grouped(round(clips))}</text>'
        )
    out.append(
        f'<text class="soft" x="{(left + WIDTH - right) / 2}" y="{height - 4}" text-anchor="middle">clips seen</text>'
    )
    labels: list[tuple[float, float, int]] = []
    for t in trials:
        points = [(x(m.clips_seen), y(m.value)) for m in t.measures if m.value > 0]
        if not points:
            continue
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour(t.number)}"/>' for a, b in points)
        line = f'<polyline points="{path}" fill="none" stroke="{colour(t.number)}" stroke-width="2"/>'
        ending, (a, b) = "", points[-1]
        if t.state in (STOPPED, FAILED):
            ink = "#d00" if t.state == FAILED else colour(t.number)
            ending = f'<path d="M{a - 6:.1f},{b - 6:.1f}l12,12m0,-12l-12,12" stroke="{ink}" stroke-width="2.5"/>'
        tip = f"<title>trial {t.number:03d} {t.state} {escape(t.reason)}</title>"
        out.append(f'<g class="t" data-t="{t.number}">{tip}{line}{dots}{ending}</g>')
        labels.append((a + 10, b + 4, t.number))
    lowest: dict[float, float] = {}  # labels at one place stand below each other
    for a, b, number in sorted(labels):
        lowest[a] = max(b, lowest.get(a, -99.0) + 13)
        out.append(_label(a, lowest[a], number))
    return _svg(height, out, f"{metric} over clips seen")


def parallel(trials: Sequence[Trial], parameters: Sequence[Parameter], metric: str) -> str:
    """Parameters and the last measure as upright axes; a dashed line is a trial that did not come to its end."""
    shown = [t for t in trials if t.last and t.last.value > 0]
    if not shown:
        return "<p>Nothing has been measured yet.</p>"
    height, top, bottom, side = 330, 40, 28, 90
    results = [t.last.value for t in shown if t.last]
    axes: list[tuple[str, Callable[[Any], float], list[tuple[float, str]]]] = []
    for p in parameters:
        axes.append((p.name, *_axis(p, [t.values[p.name] for t in shown], height - bottom, top)))
    scale = _log_scale(min(results), max(results), height - bottom, top)
    axes.append((metric, scale, [(scale(v), f"{v:.4g}") for v in (min(results), max(results))]))
    places = [side + i * (WIDTH - 2 * side) / max(1, len(axes) - 1) for i in range(len(axes))]
    out = []
    order = sorted(shown, key=lambda t: -(t.last.value if t.last else 0))
    for rank, t in enumerate(order):
        assert t.last is not None
        given = [*(t.values[p.name] for p in parameters), t.last.value]
        points = " ".join(f"{x:.1f},{axis[1](v):.1f}" for x, axis, v in zip(places, axes, given, strict=True))
        share = rank / max(1, len(order) - 1)
        dashed = ' stroke-dasharray="5 4"' if t.state in (STOPPED, FAILED) else ""
        out.append(
            f'<g class="t" data-t="{t.number}"><title>trial {t.number:03d}</title><polyline points="{points}" fill="none" '
            f'stroke="{_shade(share)}" stroke-width="{1.5 + 1.5 * share:.1f}"{dashed}/></g>'
        )
    for x, (name, _, ticks) in zip(places, axes, strict=True):
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - bottom}" stroke="#6b7280"/>')
        out.append(f'<text x="{x:.1f}" y="{top - 18}" text-anchor="middle">{escape(name)}</text>')
        for y, text in ticks:
            out.append(f'<text class="soft" x="{x - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    return _svg(height, out, "parallel coordinates")


def importance(found: Sequence[Importance]) -> str:
    """A bar for each parameter, to the left where more is better, to the right where less is."""
    height, middle = 26 * len(found) + 34, 560
    reach = WIDTH - middle - 130
    out = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height - 26}" stroke="#6b7280"/>']
    for row, i in enumerate(found):
        y, wide = 26 * row + 4, abs(i.strength) * reach
        left = middle - wide if i.strength < 0 else middle
        faint = 1.0 if i.chance < 0.05 else 0.35
        out.append(f'<rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="18" fill="#2f6fde" opacity="{faint}"/>')
        out.append(f'<text x="0" y="{y + 14}">{escape(i.name)}</text>')
        out.append(
            f'<text class="soft" x="{WIDTH}" y="{y + 14}" text-anchor="end">{i.strength:+.2f}, chance {i.chance:.2f}</text>'
        )
    out.append(f'<text class="soft" x="{middle - 8}" y="{height - 6}" text-anchor="end">more of it is better</text>')
    out.append(
        f'<text class="soft" x="{middle + 8}" y="{height - 6}">less of it is better (pale: may well be chance)</text>'
    )
    return _svg(height, out, "importance of parameters")


def costs(trials: Sequence[Trial]) -> str:
    """Wall time of each trial: training, measuring, the rest."""
    most = max((t.wall for t in trials), default=0.0) or 1.0
    height, left, right = 24 * len(trials) + 34, 60, 210
    x = _scale(0, most, left, WIDTH - right)
    out = []
    for row, t in enumerate(trials):
        y, start = 24 * row + 4, float(left)
        measuring = sum(m.seconds for m in t.measures)
        training = max(0.0, min(t.seconds, t.wall) - measuring)
        rest = max(0.0, t.wall - training - measuring)
        cells = [f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{t.number:03d}</text>']
        for seconds, ink in ((training, "#2f6fde"), (measuring, "#7fb3a0"), (rest, "#c9ced6")):
            width = x(seconds) - left
            cells.append(f'<rect x="{start:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{ink}"/>')
            start += width
        said = f"{duration(t.wall)}, {grouped(t.clips)} clips" + (f", {t.starts} starts" if t.starts > 1 else "")
        cells.append(f'<text class="soft" x="{start + 8:.1f}" y="{y + 13}">{said}</text>')
        out.append(f'<g class="t" data-t="{t.number}">{"".join(cells)}</g>')
    place = left
    for ink, name in (("#2f6fde", "training"), ("#7fb3a0", "measuring"), ("#c9ced6", "the rest")):
        out.append(f'<rect x="{place}" y="{height - 16}" width="12" height="12" fill="{ink}"/>')
        out.append(f'<text class="soft" x="{place + 18}" y="{height - 6}">{name}</text>')
        place += 110
    return _svg(height, out, "cost per trial")


def _axis(
    p: Parameter, given: list[Any], bottom: float, top: float
) -> tuple[Callable[[Any], float], list[tuple[float, str]]]:
    if p.finite:
        names = [str(v) for v in p.values]
        step = (bottom - top) / max(1, len(names) - 1)
        places = {name: bottom - i * step for i, name in enumerate(names)}
        return (lambda v: places.get(str(v), bottom)), [(y, name or '""') for name, y in places.items()]
    low, high = min([p.low, *given]), max([p.high, *given])
    scale = _log_scale(low, high, bottom, top) if p.logarithmic else _scale(low, high, bottom, top)
    ticks = _log_ticks(low, high) if p.logarithmic else [low, (low + high) / 2, high]
    return scale, [(scale(v), f"{v:.4g}") for v in ticks]


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda v: first + (v - low) / span * (last - first)


def _log_scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    inner = _scale(math.log(low), math.log(high), first, last)
    return lambda v: inner(math.log(v))


def _log_ticks(low: float, high: float) -> list[float]:
    steps = [m * 10.0**e for e in range(-12, 12) for m in (1, 2, 5)]
    inside = [v for v in steps if low <= v <= high]
    return inside if len(inside) >= 3 else [low, *inside, high]


def _shade(share: float) -> str:
    """From pale grey (worst) to dark blue (best)."""
    pale, dark = (201, 206, 214), (18, 48, 107)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(pale, dark, strict=True))


def _label(x: float, y: float, number: int) -> str:
    return (
        f'<text class="t" data-t="{number}" x="{x:.1f}" y="{y:.1f}" style="fill:{colour(number)}">{number:03d}</text>'
    )


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{inside}</svg>'
