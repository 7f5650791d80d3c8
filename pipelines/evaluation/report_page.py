"""reports/evaluation.html: all results of an evaluation on one page that needs no other file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.gallery import GalleryItem
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.result import EvaluationResult
from pipelines.params_file import flatten
from pipelines.report import plots
from pipelines.report.html_page import Figure, Paragraph, Section, Table, data_address, page

DIGESTS = ("data_digest", "detector_digest", "weights_sha256", "weights_digest")
TRAINING_PLOTS = (  # title, prefix of the metrics, caption
    ("Losses", "loss/", "Of generator and discriminator."),
    ("Logits", "logit", "What the discriminators say of real and generated ones."),
)


def videos(shown: Mapping[str, Sequence[GalleryItem]], folder: Path) -> dict[str, list[Figure]]:
    """The gallery's videos in ``folder`` by group."""

    def figure(item: GalleryItem) -> Figure:
        address = data_address("video/mp4", (folder / item.file).read_bytes())
        return Figure(title=item.title, caption=item.caption, video=address)

    return {group: [figure(item) for item in items] for group, items in shown.items()}


def render_page(
    measured: Measurement,
    groups: Mapping[str, Sequence[Figure]],
    *,
    copying: str,
    params: Mapping[str, Any],
    training_curves: Path,
) -> str:
    """The page as HTML; ``groups`` has the videos to show, ``copying`` the verdict of the nearest clips."""
    result = measured.result
    head, rows = result.table()
    digests = Table(head=("digest", "SHA-256"), rows=[(key, getattr(result, key) or "-") for key in DIGESTS])
    settings = Table(
        head=("params.yaml", "value"), rows=[(name, str(value)) for name, value in flatten(params).items()]
    )
    over_training = [_curve(result, measured.curve), *_training(training_curves)]
    sections = [
        Section(title="Real and generated", figures=groups["side"]),
        Section(title="Over the training", figures=over_training),
        *([Section(title="Classes", figures=groups["classes"])] if groups.get("classes") else []),
        Section(title="Content and motion", figures=groups["codes"]),
        Section(title="A video at any time", figures=groups["time"]),
        Section(title="Is it copying?", paragraphs=[copying], figures=groups["nearest"]),
        Section(title="Metrics", tables=[Table(head=head, rows=rows)], paragraphs=measured.real.index["notes"]),
        Section(title="What it was measured with", tables=[digests, settings]),
    ]
    return page(f"Evaluation: {result.metric} {result.main.mean:.4g}", _lead(result), sections)


def _lead(result: EvaluationResult) -> list[Paragraph]:
    main = result.main
    interval = "" if math.isnan(main.low) else f" (95 % interval {main.low:.4g} to {main.high:.4g})"
    found = f"± {main.std:.2g} {result.metric}{interval}; lower is better. Real against real: {main.real_vs_real:.4g}."
    how = (
        f"Protocol {result.protocol_text}; seed {result.seed}, truncation {result.truncation:g}; {result.resolution} pixels;"
        f" detector {result.detector}. Best snapshot: {result.clips_seen} clips seen."
    )
    lead = [Paragraph(big=f"{main.mean:.4g}", text=found), Paragraph(style="soft", text=how)]
    return [*lead, Paragraph(style="note", text=result.stand_in_note)] if result.stand_in_note else lead


def _curve(result: EvaluationResult, curve: Sequence[Mapping[str, float]]) -> Figure:
    return Figure(
        title="Quick measure of each snapshot",
        caption=f"{result.curve_videos} videos each, one draw; bootstrap interval.",
        svg=plots.lines_svg(
            {result.metric: [(row["clips_seen"], row["value"]) for row in curve]},
            y=result.metric + (" (stand-in, no FVD)" if result.is_stand_in else ""),
            band=[(row["clips_seen"], row["low"], row["high"]) for row in curve],
            points=True,
            log=min(row["low"] for row in curve) > 0,
        ),
    )


def _training(path: Path) -> list[Figure]:
    """Plots of the training's table of metrics; none if there is no table."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        points = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
    found = []
    for title, prefix, caption in TRAINING_PLOTS:
        names = sorted({name for row in points for name in row if name.startswith(prefix)})
        lines = {name: [(row["clips_seen"], row[name]) for row in points if name in row] for name in names}
        if lines:
            found.append(Figure(title=title, caption=caption, svg=plots.lines_svg(lines, y=title.lower())))
    return found
