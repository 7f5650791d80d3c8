"""The files that an evaluation writes: the generator, tables for `dvc plots`, pictures, videos and the page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digan import generator_io
from digan.atomic import write_csv, write_json, write_text
from pipelines.dataset import loader
from pipelines.evaluation import class_names, gallery, nearest_clips, report_page
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.measurement import Measurement
from pipelines.report import plots


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """Where an evaluation writes: a folder for pictures and the best generator, the metrics' JSON, the page, the tables."""

    folder: Path
    metrics: Path
    page: Path
    plots: Path

    @property
    def best(self) -> Path:
        """The folder of the best snapshot's copy."""
        return self.folder / "generator"


def write_outputs(
    measured: Measurement,
    config: EvaluationConfig,
    paths: OutputPaths,
    *,
    train: Path,
    shards_folder: Path,
    params: Mapping[str, Any],
) -> dict[str, str]:
    """Write everything; the value says what each picture and video shows. ``params`` are the settings for the page."""
    index, real = loader.read_index(shards_folder), measured.real
    shutil.copytree(measured.best.folder, paths.best, dirs_exist_ok=True)
    class_names.write(paths.best, index.classes)
    writer = gallery.Gallery(generator_io.load_generator(paths.best), config, index.frames, paths.folder)
    real_clips = gallery.clips_of_different_videos(shards_folder, 12, config.seed)
    shown, groups = gallery.write_pictures(writer, real_clips, index.classes)
    rows = config.measured_by().videos
    near = nearest_clips.nearest(real.reference[:rows], measured.generated, real.real_vs_real[:rows])
    nearest_real = nearest_clips.clips_at(shards_folder, config, near.positions[:6], len(real.reference))
    groups["nearest"] = [writer.compared(nearest_real)]
    shown |= {item.file: item.title for item in groups["nearest"]}
    _plot_distances(measured, paths.folder / "distances.png")
    page = report_page.render_page(
        measured,
        groups,
        paths.folder,
        copying=near.verdict,
        params=params,
        training_curves=train / "curves.csv",
    )
    write_text(paths.page, page)
    content = measured.result.to_json()
    written = {"figures": content, "files": shown, "reference": real.index, "curve": measured.curve}
    write_json(paths.folder / "index.json", written, indent=1)
    _write_tables(measured, paths.plots)
    write_json(paths.metrics, content)
    return shown


def _plot_distances(measured: Measurement, path: Path) -> None:
    result = measured.result
    counts = f"{result.videos} videos a draw, {result.frames} frames, {result.resolution} pixels"
    plots.distance_plot(
        path,
        title=f"{counts}, detector {result.detector}" + (" (a stand-in, no FVD)" if result.is_stand_in else ""),
        metric=result.metric,
        draws=result.main.draws,
        real_vs_real=result.main.real_vs_real,
        untrained=result.main.untrained,
    )


def _write_tables(measured: Measurement, folder: Path) -> None:
    result, main = measured.result, measured.result.main
    draws = [
        {"draw": draw, **{name: one.draws[draw] for name, one in result.metrics.items()}}
        for draw in range(len(main.draws))
    ]
    write_csv(folder / "draws.csv", draws)
    compared = {"untrained": main.untrained, "generator": main.mean, "real_vs_real": main.real_vs_real}
    distances = [{"videos": videos, result.metric: value} for videos, value in compared.items()]
    write_csv(folder / "distances.csv", distances)
    points = [{**row, "clips_seen": int(row["clips_seen"])} for row in measured.curve]
    write_csv(folder / "evaluation_curve.csv", points)
