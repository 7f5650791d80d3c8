"""Stage `evaluate`: how far the generator's videos are from real ones, beside the floor and the untrained generator.

Every kept snapshot is measured at quick counts (the curve), then the best of them at full counts. Writes
metrics/evaluation.json (for `dvc metrics`), plots/ (for `dvc plots`), reports/evaluation.html (for people) and
outputs/evaluation/ (pictures, videos, the best generator), logs the same to the training's MLflow run, prints a summary.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digan import checkpointing
from digan.atomic import write_bytes
from digan.errors import UserError
from pipelines.errors import run_stage
from pipelines.evaluation import class_names, embedding, gallery, nearest, reference_features, report, tracked
from pipelines.evaluation.cache import Cache
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.figures import Figures, described, figures_of
from pipelines.evaluation.reference_features import Reference
from pipelines.evaluation.snapshots import Embedder, Snapshot, curve, snapshots
from pipelines.media import shards, write
from pipelines.report import plots
from pipelines.report.progress_display import ProgressDisplay

SHARDS = Path("outputs/shards")
REFERENCE = Path("outputs/reference")
TRAIN = Path("outputs/train")
EVALUATION = Path("outputs/evaluation")
METRICS = Path("metrics/evaluation.json")
REPORT = Path("reports/evaluation.html")
PLOTS = Path("plots")
BEST = EVALUATION / "generator"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the stage has found: figures by measure, the curve's rows, the best snapshot, the JSON of it all, the
    features of real clips and those of the best snapshot's first draw.
    """

    figures: dict[str, Figures]
    curve: list[dict[str, float]]
    best: Snapshot
    content: dict[str, Any]
    real: Reference
    fakes: NDArray[np.float64]


def measure(settings: Any, index: shards.ShardIndex, runner: embedding.Runner) -> Measured:
    """The curve over the snapshots at quick counts, then the best one at full counts with every detector."""
    config: EvaluationConfig = settings.evaluation
    protocol, quick = config.measured_by(), config.curve()
    found = snapshots(TRAIN)
    _check_resolution(found, index.resolution)
    first_snapshot = Snapshot(
        folder=TRAIN / "initial_generator",
        clips_seen=0,
        digest=embedding.generator_digest(TRAIN / "initial_generator"),
    )
    frames = protocol.frames_of(index.frames)
    embedder = Embedder(config=config, frames=frames, available=index.frames, cache=Cache(config.cache), runner=runner)
    detector, *companions = reference_features.all_detectors(config)
    real = reference_features.require(REFERENCE, SHARDS, config, detector)
    rows = curve(found, embedder, detector, real.reals, min(quick.videos, len(real.reals)))
    best = found[min(range(len(rows)), key=lambda place: rows[place]["value"])]

    figures: dict[str, Figures] = {}
    first_draw = real.reals[:0]
    progress = ProgressDisplay("evaluate", (len(companions) + 1) * (protocol.draws + 1) * protocol.videos)
    for one in (detector, *companions):
        draws = [
            embedder.features(best, one, draw=draw, videos=protocol.videos, progress=progress)
            for draw in range(protocol.draws)
        ]
        untrained = embedder.features(first_snapshot, one, draw=0, videos=protocol.videos, progress=progress)
        first_draw = draws[0] if one is detector else first_draw
        own = (
            real
            if one is detector or one.measure != "frechet"
            else reference_features.require(REFERENCE, SHARDS, config, one)
        )
        figures |= figures_of(one, own, draws, untrained, videos=protocol.videos, seed=config.seed)
    progress.finish()
    content: dict[str, Any] = {
        "metric": detector.metric_name,
        **{name: values.to_json() for name, values in figures.items()},
        "clips_seen": best.clips_seen,
        "generator": best.folder.as_posix(),
        "weights_digest": best.digest,
        "protocol": protocol.name,
        "protocol_text": protocol.text(frames),
        "videos": protocol.videos,
        "draws": protocol.draws,
        "curve_videos": quick.videos,
        "frames": frames,
        "resolution": index.resolution,
        "seed": config.seed,
        "truncation": config.truncation,
        "is_stand_in": detector.is_stand_in,
        **described(detector, real.index),
        "companions": {one.network: described(one, real.index) for one in companions},
    }
    return Measured(figures=figures, curve=rows, best=best, content=content, real=real, fakes=first_draw)


def _check_resolution(found: list[Snapshot], resolution: int) -> None:
    made = checkpointing.load_generator(found[-1].folder).config.resolution
    if made != resolution:
        raise UserError(
            f"{found[-1].folder}: makes {made} pixels, the shards hold {resolution}; train on these shards first"
        )


def summary(name: str, figures: Figures, content: dict[str, Any]) -> str:
    """The lines printed at the end."""
    values = figures.to_json()
    counts = f"{content['videos']} videos, {content['draws']} draws; lower is better"
    lines = [
        f"{name}: {values['mean']:.4g} +- {values['std']:.2g}  ({counts})",
        f"  protocol:                 {content['protocol_text']}",
        f"  best snapshot:            {content['clips_seen']} clips seen ({content['generator']})",
        f"  floor, real against real: {figures.floor:.4g}",
        f"  untrained generator:      {figures.untrained:.4g}",
        f"  ratio to untrained:       {values['ratio_to_untrained']:.3f}",
    ]
    if figures.interval is not None:
        lines.insert(1, f"  95 % interval:            {values['low']:.4g} to {values['high']:.4g} (bootstrap)")
    if figures.infinite is not None:
        trust = "" if figures.infinite.trusted else "; too few clips for this detector to trust it"
        lines.append(f"  infinitely many videos:   {values['infinite']:.4g} +- {values['infinite_error']:.2g}{trust}")
    return "\n".join(lines)


def write_plots(measured: Measured) -> None:
    """The tables that `dvc plots` draws."""
    figures, name = measured.figures, measured.content["metric"]
    metric = figures[name]
    columns = {"draw": range(len(metric.draws)), **{key: values.draws for key, values in figures.items()}}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write.write_csv(PLOTS / "draws.csv", rows)
    compared = {"untrained": metric.untrained, "generator": metric.mean, "floor": metric.floor}
    write.write_csv(PLOTS / "distances.csv", [{"videos": k, name: v} for k, v in compared.items()])
    rows = [{**row, "clips_seen": int(row["clips_seen"])} for row in measured.curve]
    write.write_csv(PLOTS / "evaluation_curve.csv", rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml, measure, write and print."""
    from pipelines import params

    settings = params.load()
    config = settings.evaluation
    index = shards.read_index(SHARDS)
    with embedding.runner(config, settings.cluster) as runner:
        measured = measure(settings, index, runner)
    content, metric, real = measured.content, measured.figures[measured.content["metric"]], measured.real
    shutil.copytree(measured.best.folder, BEST, dirs_exist_ok=True)
    class_names.write(BEST, index.classes)
    shown = show(measured, settings, index)
    written = {"figures": content, "files": shown, "reference": real.index, "curve": measured.curve}
    write_bytes(EVALUATION / "index.json", (json.dumps(written, indent=1) + "\n").encode())
    write_plots(measured)
    write_bytes(METRICS, (json.dumps(content, indent=2) + "\n").encode())
    tracked.log(settings, measured.figures, measured.curve, content, TRAIN, EVALUATION, REPORT)

    print(summary(content["metric"], metric, content))
    for note in real.index["notes"]:
        print(f"  note: {note}")
    print(f"  report: {REPORT}")
    print("  pictures: " + ", ".join(str(EVALUATION / name) for name in shown), flush=True)


def show(measured: Measured, settings: Any, index: shards.ShardIndex) -> dict[str, str]:
    """Pictures, videos and the page -> what each file shows."""
    config, content = settings.evaluation, measured.content
    metric, protocol = measured.figures[content["metric"]], config.measured_by()
    rooms = gallery.Gallery(checkpointing.load_generator(BEST), config, index.frames, EVALUATION)
    files, groups = gallery.write_pictures(rooms, gallery.different_reals(SHARDS, 12, config.seed), index.classes)
    rows = min(protocol.videos, len(measured.real.reals))
    near = nearest.nearest(measured.real.reals[:rows], measured.fakes, measured.real.floor[:rows])
    alike = nearest.clips_of(SHARDS, protocol, near.places[:6], videos=len(measured.real.reals), seed=config.seed)
    groups["nearest"] = [rooms.compared(alike)]
    title = f"{content['videos']} videos a draw, {content['frames']} frames, {index.resolution} pixels"
    plots.distance_plot(
        EVALUATION / "distances.png",
        title=f"{title}, detector {content['detector']}" + (" (a stand-in, no FVD)" if content["is_stand_in"] else ""),
        metric=content["metric"],
        draws=metric.draws,
        floor=metric.floor,
        untrained=metric.untrained,
    )
    text = report.write_page(
        content,
        measured.curve,
        groups,
        copying=near.verdict,
        notes=measured.real.index["notes"],
        params=settings.as_dict(),
        training_curves=TRAIN / "curves.csv",
        folder=EVALUATION,
    )
    write_bytes(REPORT, text.encode())
    return {**files, **{one.file: one.title for one in groups["nearest"]}}


if __name__ == "__main__":
    run_stage(main)
