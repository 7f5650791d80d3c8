"""reports/evaluation.html: all results of an evaluation on one page that needs no other file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.gallery import GalleryItem
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.result import EvaluationResult
from pipelines.params_file import flatten
from pipelines.report import plots
from pipelines.report.html_page import data_address, render

DIGESTS = ("data_digest", "detector_digest", "weights_sha256", "weights_digest")
TRAINING_PLOTS = {"losses": "loss/", "logits": "logit"}  # prefix of the metrics in each plot


def render_page(
    measured: Measurement,
    groups: Mapping[str, Sequence[GalleryItem]],
    folder: Path,
    *,
    copying: str,
    params: Mapping[str, Any],
    training_curves: Path,
) -> str:
    """Return the page. ``groups`` are videos in ``folder`` by section; ``copying`` is the verdict of the nearest clips."""
    result = measured.result
    head, rows = result.table()
    files = {item.file for items in groups.values() for item in items}
    return render(
        "evaluation.html.jinja",
        result=result,
        groups=groups,
        addresses={file: data_address("video/mp4", (folder / file).read_bytes()) for file in files},
        curve=_curve(result, measured.curve),
        training=_training(training_curves),
        copying=copying,
        notes=measured.real.index["notes"],
        head=head,
        rows=rows,
        digests={key: getattr(result, key) or "-" for key in DIGESTS},
        params=flatten(params),
    )


def _curve(result: EvaluationResult, curve: Sequence[Mapping[str, float]]) -> str:
    return plots.lines_svg(
        {result.metric: [(row["clips_seen"], row["value"]) for row in curve]},
        y=result.metric + (" (stand-in, no FVD)" if result.is_stand_in else ""),
        band=[(row["clips_seen"], row["low"], row["high"]) for row in curve],
        points=True,
        log=min(row["low"] for row in curve) > 0,
    )


def _training(path: Path) -> dict[str, str]:
    """Plot the training's table of metrics as SVG elements; empty without a table or such metrics."""
    points: list[dict[str, float]] = []
    if path.is_file():
        with path.open(newline="") as stream:
            points = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
    found = {}
    for title, prefix in TRAINING_PLOTS.items():
        names = sorted({name for row in points for name in row if name.startswith(prefix)})
        lines = {name: [(row["clips_seen"], row[name]) for row in points if name in row] for name in names}
        found[title] = plots.lines_svg(lines, y=title) if lines else ""
    return found
