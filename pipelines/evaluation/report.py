"""reports/evaluation.html: everything an evaluation has found, on one page that needs nothing else."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.gallery import Shown
from pipelines.report import plots
from pipelines.report.page import Paragraph, Plot, Section, Table, Video, flat_rows, page

ROWS = {
    "mean": "mean over draws",
    "std": "standard deviation over draws",
    "low": "95 % interval, from",
    "high": "95 % interval, to",
    "floor": "floor: real against real",
    "untrained": "untrained generator",
    "infinite": "at infinitely many videos",
    "infinite_error": "its standard error in the fit",
    "infinite_r2": "share of variance the fit explains",
}
DIGESTS = ("data_digest", "detector_digest", "weights_sha256", "weights_digest")


def write_page(
    content: Mapping[str, Any],
    curve: Sequence[Mapping[str, float]],
    shown: Mapping[str, Sequence[Shown]],
    *,
    copying: str,
    notes: Sequence[str],
    params: Mapping[str, Any],
    training_curves: Path,
    folder: Path,
) -> str:
    """The page's text. ``content`` is metrics/evaluation.json, ``shown`` the videos in ``folder`` by group."""
    metric = str(content["metric"])

    def videos(group: str) -> list[Video]:
        return [
            Video(title=one.title, caption=one.caption, mp4=(folder / one.file).read_bytes())
            for one in shown.get(group, ())
        ]

    sections = [
        Section(title="Real and generated", figures=videos("side")),
        Section(title="Over the training", figures=_curves(content, curve, training_curves)),
        *([Section(title="Classes", figures=videos("classes"))] if shown.get("classes") else []),
        Section(title="Content and motion", figures=videos("codes")),
        Section(title="A video at any time", figures=videos("time")),
        Section(title="Is it copying?", paragraphs=[copying], figures=videos("nearest")),
        Section(title="Figures", tables=_figures(content), paragraphs=notes),
        Section(
            title="What it was measured with",
            tables=[
                Table(head=("digest", "SHA-256"), rows=[(key, str(content[key]) or "-") for key in DIGESTS]),
                Table(head=("params.yaml", "value"), rows=list(flat_rows(params))),
            ],
        ),
    ]
    return page(f"Evaluation: {metric} {content[metric]['mean']:.4g}", _lead(content), sections)


def _lead(content: Mapping[str, Any]) -> list[Paragraph]:
    metric = str(content["metric"])
    figures = content[metric]
    interval = f" (95 % interval {figures['low']:.4g} to {figures['high']:.4g})" if "low" in figures else ""
    lead = [
        Paragraph(
            big=f"{figures['mean']:.4g}",
            text=f"± {figures['std']:.2g} {metric}{interval}; lower is better. Real against real: {figures['floor']:.4g}.",
        ),
        Paragraph(
            style="soft",
            text=f"Protocol {content['protocol_text']}; seed {content['seed']}, truncation {content['truncation']:g};"
            f" {content['resolution']} pixels; detector {content['detector']}. Best snapshot: {content['clips_seen']} clips"
            " seen.",
        ),
    ]
    if content["is_stand_in"]:
        text = f"{metric} is a distance on a stand-in detector and no FVD. With I3D weights for Kinetics-400,"
        lead.append(Paragraph(style="note", text=f"{text} evaluation.detector: i3d gives FVD."))
    return lead


def _curves(content: Mapping[str, Any], curve: Sequence[Mapping[str, float]], training: Path) -> list[Plot]:
    metric = str(content["metric"])
    found = [
        Plot(
            title="Quick measure of each snapshot",
            caption=f"{content['curve_videos']} videos each, one draw; bootstrap interval.",
            svg=plots.lines_svg(
                {metric: [(row["clips_seen"], row["value"]) for row in curve]},
                y=metric + (" (stand-in, no FVD)" if content["is_stand_in"] else ""),
                band=[(row["clips_seen"], row["low"], row["high"]) for row in curve],
                points=True,
                log=min(row["low"] for row in curve) > 0,
            ),
        )
    ]
    points = _training(training)
    for title, prefix, caption in (
        ("Losses", "loss/", "Of generator and discriminator."),
        ("Logits", "logit", "What the discriminators say of real and generated ones."),
    ):
        names = sorted({name for row in points for name in row if name.startswith(prefix)})
        lines = {name: [(row["clips_seen"], row[name]) for row in points if name in row] for name in names}
        lines = {name: values for name, values in lines.items() if values}
        if lines:
            found.append(Plot(title=title, caption=caption, svg=plots.lines_svg(lines, y=title.lower())))
    return found


def _training(path: Path) -> list[dict[str, float]]:
    """The numbers of the training's table; none where it left no table."""
    if not path.is_file():
        return []
    found = []
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = {}
            for name, text in row.items():
                try:
                    numbers[name] = float(text)
                except (TypeError, ValueError):
                    continue
            if "clips_seen" in numbers:
                found.append(numbers)
    return found


def _figures(content: Mapping[str, Any]) -> list[Table]:
    names = [name for name, value in content.items() if isinstance(value, Mapping) and "mean" in value]
    rows = [
        (text, *(f"{content[name][key]:.4g}" if key in content[name] else "-" for name in names))
        for key, text in ROWS.items()
        if any(key in content[name] for name in names)
    ]
    return [Table(head=("", *names), rows=rows)]
