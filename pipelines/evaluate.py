"""Stage `evaluate`: how far the generator's videos are from real ones, beside the floor and the untrained generator.

Writes metrics/evaluation.json (for `dvc metrics`), plots/ (for `dvc plots`) and outputs/evaluation/ (pictures and
videos for people), logs the same to the training's MLflow run and prints a summary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan import checkpointing, sampling
from digan.errors import UserError
from digan.metrics.features import FeatureStatistics, from_features
from digan.metrics.frechet import frechet_distance
from digan.metrics.kernel import kernel_distance
from digan.models.generator import Generator
from pipelines import detectors, reference
from pipelines.detectors import Detector, EvaluationConfig
from pipelines.errors import run_stage
from pipelines.media import shards, write
from pipelines.report import pictures, plots
from pipelines.report.progress import Progress

TRAIN = Path("outputs/train")
EVALUATION = Path("outputs/evaluation")
METRICS = Path("metrics/evaluation.json")
PLOTS = Path("plots")
SEED_STRIDE = 2**20  # seeds of one evaluation seed; the videos of all draws have seeds of their own
PER_SECOND = 8.0  # frames a second of the videos for people


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One measure: ``draws`` of the trained generator, ``floor`` of real clips, ``untrained`` generator (one draw)."""

    draws: tuple[float, ...]
    floor: float
    untrained: float

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return float(np.mean(self.draws))

    def to_json(self) -> dict[str, float]:
        """mean, std (over draws, n - 1; 0 for one draw), floor, untrained, ratio_to_untrained."""
        return {
            "mean": self.mean,
            "std": float(np.std(self.draws, ddof=1)) if len(self.draws) > 1 else 0.0,
            "floor": self.floor,
            "untrained": self.untrained,
            "ratio_to_untrained": self.mean / self.untrained if self.untrained else float("nan"),
        }


def seeds_of(config: EvaluationConfig, draw: int) -> range:
    """The seeds of a draw's videos; no two draws share one."""
    start = config.seed * SEED_STRIDE + draw * config.videos
    return range(start, start + config.videos)


def embed_fakes(
    generator: Generator, detector: Detector, config: EvaluationConfig, *, frames: int, draw: int, progress: Progress
) -> NDArray[np.float64]:
    """Features [videos, D] of one draw; videos live only from their making to their embedding."""
    times, parts = torch.linspace(0, 1, frames), []
    seeds: Iterator[int] = iter(seeds_of(config, draw))
    while batch := list(islice(seeds, config.batch_size)):
        videos = sampling.sample(
            generator, seeds=batch, times=times, truncation=config.truncation, batch=config.batch_size
        )
        parts.append(detector.features(videos))
        progress.add(len(batch))
    return np.concatenate(parts)


def measure(
    generator: Generator,
    untrained: Generator,
    detector: Detector,
    config: EvaluationConfig,
    real: reference.Reference,
    frames: int,
) -> dict[str, Figures]:
    """Frechet and kernel distance by name; the untrained generator gets the first draw's seeds."""
    progress = Progress("evaluate", (config.draws + 1) * config.videos)

    def embed(maker: Generator, draw: int) -> NDArray[np.float64]:
        return embed_fakes(maker, detector, config, frames=frames, draw=draw, progress=progress)

    fakes = [embed(generator, draw) for draw in range(config.draws)]
    first = embed(untrained, 0)
    progress.finish()
    statistics = from_features(real.reals)

    def frechet(features: NDArray[np.float64]) -> float:
        part: FeatureStatistics = from_features(features)
        return frechet_distance(statistics, part)

    def kernel(features: NDArray[np.float64]) -> float:
        return kernel_distance(real.reals, features)

    measures: dict[str, Callable[[NDArray[np.float64]], float]] = {
        detector.metric_name: frechet,
        detector.kernel_name: kernel,
    }
    return {
        name: Figures(draws=tuple(map(distance, fakes)), floor=distance(real.floor), untrained=distance(first))
        for name, distance in measures.items()
    }


def write_pictures(generator: Generator, config: EvaluationConfig, frames: int, folder: Path) -> dict[str, str]:
    """Strips and playing grids of generated videos -> what each file shows, by file name."""
    times = torch.linspace(0, 1, frames)
    many = sampling.sample(generator, seeds=seeds_of(config, 0)[:24], times=times, truncation=config.truncation)
    page = pictures.frame_rows([("generated", many[:6]), ("real", torch.stack(_different_reals(4, config.seed)))])
    pictures.save_png(folder / "strip.png", page)
    playing = pictures.tiles(many, columns=6)
    scale = pictures.scale_for(many.shape[-1])
    write.write_video(folder / "videos.mp4", torch.cat([playing] * 3), PER_SECOND, scale=scale)
    write.write_gif(folder / "videos.gif", playing, PER_SECOND, scale=scale)

    first = seeds_of(config, 0)[0]
    codes = [*range(first, first + 5)]
    labels = sampling.pick_labels(generator, codes[:1] * 5)

    def rows(contents: Sequence[int], motions: Sequence[int]) -> torch.Tensor:
        latents = sampling.draw_latents(contents, motion_seeds=motions, labels=labels)
        return sampling.render(generator, latents, times, truncation=config.truncation)

    both = [
        ("one content, five motions", rows(codes[:1] * 5, codes)),
        ("one motion, five contents", rows(codes, codes[:1] * 5)),
    ]
    pictures.save_png(folder / "motion_and_content.png", pictures.frame_rows(both))
    return {
        "strip.png": "rows are videos, columns are times; generated above, real below",
        "videos.mp4": "24 generated videos playing, three times",
        "videos.gif": "24 generated videos playing",
        "motion_and_content.png": "one content with five motions, one motion with five contents",
        "distances.png": "the figure between floor and untrained generator",
    }


def _different_reals(count: int, seed: int) -> list[torch.Tensor]:
    """Frames of up to ``count`` real clips of different videos."""
    found: dict[str, torch.Tensor] = {}
    for clip in shards.read_clips(reference.SHARDS, split="train", count=8 * count, seed=seed):
        found.setdefault(reference.video_of(clip.name), clip.frames)
        if len(found) == count:
            break
    return list(found.values())


def summary(name: str, figures: Figures, config: EvaluationConfig) -> str:
    """The lines printed at the end."""
    values = figures.to_json()
    counts = f"{config.videos} videos, {config.draws} draws; lower is better"
    return "\n".join(
        [
            f"{name}: {values['mean']:.4g} +- {values['std']:.2g}  ({counts})",
            f"  floor, real against real: {figures.floor:.4g}",
            f"  untrained generator:      {figures.untrained:.4g}",
            f"  ratio to untrained:       {values['ratio_to_untrained']:.3f}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml, measure, write and print."""
    from pipelines import params

    settings = params.load()
    config = settings.evaluation
    index = shards.read_index(reference.SHARDS)
    generator = checkpointing.load_generator(TRAIN / "generator")
    untrained = checkpointing.load_generator(TRAIN / "initial_generator")
    if generator.config.resolution != index.resolution:
        raise UserError(
            f"{TRAIN / 'generator'}: makes {generator.config.resolution} pixels, the shards hold {index.resolution};"
            " train on these shards first"
        )
    detector = detectors.load(config)
    real = reference.require(config, detector)
    figures = measure(generator, untrained, detector, config, real, index.frames)
    metric = figures[detector.metric_name]

    content: dict[str, Any] = {
        "metric": detector.metric_name,
        **{name: values.to_json() for name, values in figures.items()},
        "videos": config.videos,
        "draws": config.draws,
        "frames": index.frames,
        "resolution": index.resolution,
        "seed": config.seed,
        "truncation": config.truncation,
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "data_digest": index.digest,
    }
    shown = write_pictures(generator, config, index.frames, EVALUATION)
    title = (
        f"{config.videos} videos a draw, {index.frames} frames, {index.resolution} pixels, detector {detector.network}"
    )
    distances = {"draws": metric.draws, "floor": metric.floor, "untrained": metric.untrained}
    plots.distance_plot(EVALUATION / "distances.png", title=title, metric=detector.metric_name, **distances)  # type: ignore[arg-type]
    described = {"figures": content, "files": shown, "reference": real.index}
    write.write_bytes(EVALUATION / "index.json", (json.dumps(described, indent=1) + "\n").encode())
    names = {"draw": range(config.draws), **{name: values.draws for name, values in figures.items()}}
    write.write_csv(
        PLOTS / "draws.csv", [dict(zip(names, row, strict=True)) for row in zip(*names.values(), strict=True)]
    )
    compared = {"untrained": metric.untrained, "generator": metric.mean, "floor": metric.floor}
    write.write_csv(PLOTS / "distances.csv", [{"videos": k, detector.metric_name: v} for k, v in compared.items()])
    write.write_bytes(METRICS, (json.dumps(content, indent=2) + "\n").encode())
    log(settings, figures, content)

    print(summary(detector.metric_name, metric, config))
    for note in real.index["notes"]:
        print(f"  note: {note}")
    print("  pictures: " + ", ".join(str(EVALUATION / name) for name in shown), flush=True)


def log(settings: Any, figures: dict[str, Figures], content: dict[str, Any]) -> None:
    """Figures, digests and pictures to the MLflow run of the training, where there is one."""
    run_file = TRAIN / "run.json"
    if not run_file.is_file():
        print(f"evaluate: {run_file} is not there, so nothing goes to MLflow")
        return
    from pipelines.services import tracking

    run_id = str(json.loads(run_file.read_text())["run_id"])
    values = {f"evaluation/{name}/{key}": v for name, part in figures.items() for key, v in part.to_json().items()}
    values = {key: value for key, value in values.items() if np.isfinite(value)}
    tags = {f"evaluation.{key}": str(content[key]) for key in ("metric", "detector_digest", "data_digest")}
    step = _clips_seen(TRAIN / "index.json")
    tracking.log_evaluation(settings.tracking, run_id, values, EVALUATION, step=step, tags=tags)


def _clips_seen(path: Path) -> int:
    """How far the training went, 0 where its index does not say."""
    try:
        return int(json.loads(path.read_text())["clips_seen"])
    except (FileNotFoundError, KeyError, ValueError):
        return 0


if __name__ == "__main__":
    run_stage(main)
