"""The files that an evaluation writes: the best generator, tables for `dvc plots`, pictures, videos and a page with all."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digan import class_names, generator_io
from digan.atomic import replacing, write_csv, write_json, write_text
from pipelines.dataset import loader
from pipelines.evaluation import gallery
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.gallery import Gallery, NearestClips
from pipelines.evaluation.measurement import Measurement
from pipelines.params_file import flatten
from pipelines.report import plots
from pipelines.report.html_page import data_address, render

FOLDER = Path("outputs/evaluation")
GENERATOR = FOLDER / "generator"  # a copy of the best snapshot
METRICS = Path("metrics/evaluation.json")
PAGE = Path("reports/evaluation.html")
PLOTS = Path("plots")
DIGESTS = ("data_digest", "detector_digest", "weights_sha256", "weights_digest")
TRAINING_PLOTS = {"losses": "loss/", "logits": "logit"}  # prefix of the metrics in each plot


def write_outputs(
    measured: Measurement, config: EvaluationConfig, *, train: Path, shards: Path, params: Mapping[str, Any]
) -> dict[str, str]:
    """Write everything; the value says what each picture and video shows. ``params`` are the settings for the page."""
    index, real, result, main = loader.read_index(shards), measured.real, measured.result, measured.result.main
    with replacing(GENERATOR) as part:
        shutil.copytree(measured.best.folder, part)
        class_names.write(part, index.classes)
    rows = config.measured_by().videos
    near = gallery.nearest(real.reference[:rows], measured.generated, real.real_vs_real[:rows])
    writer = Gallery(generator_io.load_generator(GENERATOR), config, index.frames, FOLDER, index.classes)
    writer.write(
        gallery.clips_of_different_videos(shards, 12, config.seed),
        gallery.clips_at(shards, config, near.positions[:6]),
    )
    counts = f"{result.videos} videos a draw, {result.frames} frames, {result.resolution} pixels"
    plots.distance_plot(
        FOLDER / "distances.png",
        title=f"{counts}, detector {result.detector}" + (" (a stand-in, no FVD)" if result.is_stand_in else ""),
        metric=result.metric,
        draws=main.draws,
        real_vs_real=main.real_vs_real,
        untrained=main.untrained,
    )
    write_text(PAGE, render_page(measured, writer, near, params=params, training_curves=train / "curves.csv"))
    content = result.to_json()
    written = {"figures": content, "files": writer.titles, "reference": real.index, "curve": measured.curve}
    write_json(FOLDER / "index.json", written, indent=1)
    _write_tables(measured)
    write_json(METRICS, content)
    return writer.titles


def _write_tables(measured: Measurement) -> None:
    result, main = measured.result, measured.result.main
    columns = {"draw": range(len(main.draws)), **{name: one.draws for name, one in result.metrics.items()}}
    draws = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write_csv(PLOTS / "draws.csv", draws)
    compared = {"untrained": main.untrained, "generator": main.mean, "real_vs_real": main.real_vs_real}
    distances = [{"videos": videos, result.metric: value} for videos, value in compared.items()]
    write_csv(PLOTS / "distances.csv", distances)
    points = [{**row, "clips_seen": int(row["clips_seen"])} for row in measured.curve]
    write_csv(PLOTS / "evaluation_curve.csv", points)


def render_page(
    measured: Measurement, videos: Gallery, near: NearestClips, *, params: Mapping[str, Any], training_curves: Path
) -> str:
    """Return the page with all results, which needs no other file."""
    result, curve = measured.result, measured.curve
    curve_plot = plots.lines_svg(
        {result.metric: [(row["clips_seen"], row["value"]) for row in curve]},
        y=result.metric + (" (stand-in, no FVD)" if result.is_stand_in else ""),
        band=[(row["clips_seen"], row["low"], row["high"]) for row in curve],
        points=True,
        log=min(row["low"] for row in curve) > 0,
    )
    return render(
        "evaluation.html.jinja",
        result=result,
        gallery=videos,
        address=lambda file: data_address("video/mp4", (videos.folder / file).read_bytes()),
        curve=curve_plot,
        training=_training(training_curves),
        near=near,
        notes=measured.real.index["notes"],
        digests={key: getattr(result, key) or "-" for key in DIGESTS},
        params=flatten(params),
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
