"""What an evaluation leaves on disk: the generator, tables for `dvc plots`, pictures, videos and the page."""

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
    """Write everything and return what each picture and video shows; ``params`` are the values for the page."""
    index = loader.read_index(shards_folder)
    shutil.copytree(measured.best.folder, paths.best, dirs_exist_ok=True)
    class_names.write(paths.best, index.classes)
    rooms = gallery.Gallery(generator_io.load_generator(paths.best), config, index.frames, paths.folder)
    reference = gallery.different_reals(shards_folder, 12, config.seed)
    files, groups = gallery.write_pictures(rooms, reference, index.classes)
    near = _nearest(measured, config)
    alike = nearest_clips.clips_of(
        shards_folder, config.measured_by(), near.places[:6], videos=len(measured.real.reference), seed=config.seed
    )
    groups["nearest"] = [rooms.compared(alike)]
    _distance_plot(measured, paths.folder / "distances.png")
    page = report_page.write_page(
        measured.result,
        measured.curve,
        report_page.videos(groups, paths.folder),
        copying=near.verdict,
        notes=measured.real.index["notes"],
        params=params,
        training_curves=train / "curves.csv",
    )
    write_text(paths.page, page)
    shown = {**files, **{one.file: one.title for one in groups["nearest"]}}
    content = measured.result.to_json()
    written = {"figures": content, "files": shown, "reference": measured.real.index, "curve": measured.curve}
    write_json(paths.folder / "index.json", written, indent=1)
    _write_tables(measured, paths.plots)
    write_json(paths.metrics, content)
    return shown


def _nearest(measured: Measurement, config: EvaluationConfig) -> nearest_clips.Nearest:
    rows = min(config.measured_by().videos, len(measured.real.reference))
    return nearest_clips.nearest(measured.real.reference[:rows], measured.fakes, measured.real.real_vs_real[:rows])


def _distance_plot(measured: Measurement, path: Path) -> None:
    result = measured.result
    title = (
        f"{result.videos} videos a draw, {result.frames} frames, {result.resolution} pixels, detector {result.detector}"
    )
    plots.distance_plot(
        path,
        title=title + (" (a stand-in, no FVD)" if result.is_stand_in else ""),
        metric=result.metric,
        draws=result.main.draws,
        real_vs_real=result.main.real_vs_real,
        untrained=result.main.untrained,
    )


def _write_tables(measured: Measurement, folder: Path) -> None:
    result, main = measured.result, measured.result.main
    columns = {"draw": range(len(main.draws)), **{name: one.draws for name, one in result.metrics.items()}}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write_csv(folder / "draws.csv", rows)
    compared = {"untrained": main.untrained, "generator": main.mean, "real_vs_real": main.real_vs_real}
    write_csv(folder / "distances.csv", [{"videos": k, result.metric: v} for k, v in compared.items()])
    rows = [{**row, "clips_seen": int(row["clips_seen"])} for row in measured.curve]
    write_csv(folder / "evaluation_curve.csv", rows)
