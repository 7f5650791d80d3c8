"""Pictures and videos of a generator for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from digan import sampling
from digan.models.generator import Generator
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import seeds_of
from pipelines.evaluation.reals import video_of
from pipelines.media import shards, write
from pipelines.report import pictures

PER_SECOND = 8.0  # frames a second of the videos for people


def write_pictures(
    generator: Generator, config: EvaluationConfig, shards_folder: Path, frames: int, folder: Path
) -> dict[str, str]:
    """Strips and playing grids of generated videos -> what each file shows, by file name."""
    times = torch.linspace(0, 1, frames)
    many = sampling.sample(generator, seeds=seeds_of(config.seed, 0, 0, 24), times=times, truncation=config.truncation)
    page = pictures.frame_rows(
        [("generated", many[:6]), ("real", torch.stack(different_reals(shards_folder, 4, config.seed)))]
    )
    pictures.save_png(folder / "strip.png", page)
    playing = pictures.tiles(many, columns=6)
    scale = pictures.scale_for(many.shape[-1])
    write.write_video(folder / "videos.mp4", torch.cat([playing] * 3), PER_SECOND, scale=scale)
    write.write_gif(folder / "videos.gif", playing, PER_SECOND, scale=scale)

    first = seeds_of(config.seed, 0, 0, 1)[0]
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


def different_reals(folder: Path, count: int, seed: int) -> list[torch.Tensor]:
    """Frames of up to ``count`` real clips of different videos."""
    found: dict[str, torch.Tensor] = {}
    for clip in shards.read_clips(folder, split="train", count=8 * count, seed=seed):
        found.setdefault(video_of(clip.name), clip.frames)
        if len(found) == count:
            break
    return list(found.values())
