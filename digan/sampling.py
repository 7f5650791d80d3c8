"""Sampling: seeds and times to uint8 videos. Equal calls give equal bytes; a seed's codes do not depend on other seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from digan.models.config import CODE_DIM
from digan.models.generator import VideoGenerator
from digan.seeding import generator_for
from digan.types import Latents

FRAMES_AT_ONCE = 16  # bounds the memory of long videos; Synthesis.synthesize also tiles rows


def draw_latents(
    seeds: Sequence[int], *, motion_seeds: Sequence[int] | None = None, labels: Sequence[int] | None = None
) -> Latents:
    """One content and one motion code per seed, [B, 512] each; ``motion_seeds`` draws the motion codes from other seeds."""
    motion_seeds = seeds if motion_seeds is None else motion_seeds

    def codes(name: str, values: Sequence[int]) -> torch.Tensor:
        return torch.stack([torch.randn(CODE_DIM, generator=generator_for(seed, name)) for seed in values])

    return Latents(
        content=codes("content", seeds),
        motion=codes("motion", motion_seeds),
        labels=None if labels is None else torch.tensor(labels, dtype=torch.int64),
    )


def to_bytes(frames: torch.Tensor) -> torch.Tensor:
    """Quantize frames to uint8: floor(255 (x + 1) / 2) with x clamped to [-1, 1], as in the published model."""
    return (frames.clamp(-1, 1) + 1).mul_(127.5).to(torch.uint8)


def pick_labels(generator: VideoGenerator, seeds: Sequence[int]) -> list[int] | None:
    """A uniformly drawn label per seed for a class-conditional generator, else ``None``."""
    classes = generator.config.classes
    if not classes:
        return None
    return [int(torch.randint(classes, (1,), generator=generator_for(seed, "label"))) for seed in seeds]


@torch.inference_mode()
def render(
    generator: VideoGenerator,
    latents: Latents,
    times: torch.Tensor,
    *,
    truncation: float = 1.0,
    extent: float = 1.0,
    grid_factor: int = 1,
) -> torch.Tensor:
    """Frames of ``latents`` at ``times`` [T], in any order and range -> uint8 [B, T, 3, R * grid_factor, R * grid_factor].

    ``truncation`` psi interpolates w towards w_avg; ``extent`` > 1 zooms out; ``grid_factor`` samples a finer grid. Frames
    are synthesized a few at a time, so only the result grows with T.
    """
    device = next(generator.parameters()).device
    labels = None if latents.labels is None else latents.labels.to(device)
    w = generator.mapping.truncate(generator.mapping(latents.content.to(device), labels), truncation)
    prepared = generator.synthesis.prepare(generator.broadcast_w(w), latents.motion.to(device))
    times = times.to(device)
    batch = w.shape[0]
    parts = [
        to_bytes(
            generator.synthesis.synthesize(
                prepared, part[None].expand(batch, -1), extent=extent, grid_factor=grid_factor
            )
        ).cpu()
        for part in times.split(FRAMES_AT_ONCE)
    ]
    return torch.cat(parts, dim=1)


def sample(
    generator: VideoGenerator,
    *,
    seeds: Sequence[int],
    times: torch.Tensor,
    labels: Sequence[int] | None = None,
    truncation: float = 1.0,
    batch: int = 16,
) -> torch.Tensor:
    """One video per seed at ``times`` [T] -> uint8 [B, T, 3, R, R]; a class-conditional generator draws missing ``labels``."""
    labels = pick_labels(generator, seeds) if labels is None else labels
    videos = []
    for start in range(0, len(seeds), batch):
        part = slice(start, start + batch)
        latents = draw_latents(seeds[part], labels=None if labels is None else labels[part])
        videos.append(render(generator, latents, times, truncation=truncation))
    return torch.cat(videos)
