"""Pictures and videos of a generator beside real clips, for the report, and the real clips that they show.

Legend: B videos, T times, H, W pixels; videos are uint8 [B, T, 3, H, W]. ``evaluation.html.jinja`` has the captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from digan import sampling
from digan.models.generator import VideoGenerator
from pipelines.dataset import loader
from pipelines.evaluation import reference_features
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import seeds_of
from pipelines.evaluation.reference_features import video_of
from pipelines.report import contact_sheet
from pipelines.video import video_writer

Array = NDArray[np.float64]
CLASSES, CLASSES_PLAYING = "classes.png", "classes.mp4"
FPS = 8.0
FACTOR = 4  # frame rate of the interpolation, in trained rates
LONG = 128  # frames
MOST_CLASSES = 16  # shown of a class-conditional generator
FINE_SIZE = 256  # pixels of a side of the finer grid, or twice the trained size if that is larger
BEYOND = 0.5  # length of the extrapolation on each side, in trained spans
INSIDE, OUTSIDE = (45, 138, 78), (196, 87, 15)  # colors of frames within [0, 1] and beyond
TITLES = {
    "strip.png": "rows are videos, columns are times; generated above, real below",
    "videos.mp4": "24 generated videos playing, three times",
    "videos.gif": "24 generated videos playing",
    "finer.png": "the trained pixels, and the same frames synthesized on a finer grid",
    "abilities.png": "what an implicit video can do: other times, other motions, other contents",
    "motion_and_content.png": "one content with five motions, one motion with five contents",
    "distances.png": "the metric, with real vs. real and the untrained generator for comparison",
    CLASSES: "a row for each class",
    "real.mp4": "Real",
    "generated.mp4": "Generated",
    CLASSES_PLAYING: "One of each class",
    "one_content.mp4": "One content, many motions",
    "one_motion.mp4": "One motion, many contents",
    "extrapolation.mp4": "Before 0 and after 1",
    "interpolation.mp4": "Four times the rate",
    "long.mp4": "128 frames",
    "nearest.mp4": "Nearest real clips",
}


class Gallery:
    """Renders videos of one generator, with the settings of its evaluation and the names of its classes, into ``folder``."""

    def __init__(
        self, generator: VideoGenerator, config: EvaluationConfig, frames: int, folder: Path, classes: Sequence[str]
    ) -> None:
        self.generator, self.config, self.folder, self.classes = generator, config, folder, classes
        more = max(2, round(BEYOND * (frames - 1)))
        self.times = torch.linspace(0, 1, frames)
        self.extended_times = torch.arange(-more, frames + more) * (1 / max(frames - 1, 1))
        self.fine_times = torch.linspace(0, 1, FACTOR * (frames - 1) + 1)
        self.seeds = list(seeds_of(config.seed, 0, range(24)))
        self.scale = contact_sheet.scale_for(generator.config.resolution)

    @property
    def titles(self) -> dict[str, str]:
        """What each file shows, by name."""
        return {file: title for file, title in TITLES.items() if self.classes or file not in (CLASSES, CLASSES_PLAYING)}

    @property
    def shown_classes(self) -> str:
        """Which classes are shown, for the page."""
        few = len(self.classes) <= MOST_CLASSES
        which = "all classes" if few else f"the first {MOST_CLASSES} of {len(self.classes)} classes"
        return f"{which}: {', '.join(self.classes[:MOST_CLASSES])}"

    def write(self, real: torch.Tensor, nearest: torch.Tensor) -> None:
        """Write all files but distances.png; ``nearest`` are the real clips nearest to the first generated videos."""
        many = self.generated(24)
        sheet = contact_sheet.frame_rows([("generated", many[:6]), ("real", real[:4])])
        contact_sheet.save_png(self.folder / "strip.png", sheet)
        tiles = contact_sheet.tiles(many, columns=6)
        video_writer.write_video(self.folder / "videos.mp4", tiles.repeat(3, 1, 1, 1), FPS, scale=self.scale)
        video_writer.write_gif(self.folder / "videos.gif", tiles, FPS, scale=self.scale)
        self.play("real.mp4", real[:12], columns=4)
        self.play("generated.mp4", many[:12], columns=4)
        self.each_class()
        self.motion_and_content()
        self.finer()
        self.abilities()
        self.extrapolated()
        self.interpolated()
        self.play("long.mp4", self.generated(4, torch.linspace(0, 1, LONG)), columns=4, fps=24)
        frames = min(many.shape[1], nearest.shape[1])
        both = torch.cat([many[: len(nearest), :frames], nearest[:, :frames]])
        self.play("nearest.mp4", both, columns=len(nearest))

    def generated(
        self, count: int, times: torch.Tensor | None = None, labels: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The first ``count`` videos of the first draw, at other ``times`` or of given classes if they are given."""
        times, truncation = self.times if times is None else times, self.config.truncation
        return sampling.sample(
            self.generator, seeds=self.seeds[:count], times=times, labels=labels, truncation=truncation
        )

    def play(self, name: str, videos: torch.Tensor, *, columns: int, fps: float = FPS) -> None:
        """Write videos side by side as the mp4 file ``name``."""
        tiles = contact_sheet.tiles(videos, columns=columns)
        video_writer.write_video(self.folder / name, tiles, fps, scale=self.scale)

    def mixed(
        self,
        contents: Sequence[int],
        motions: Sequence[int],
        times: torch.Tensor | None = None,
        *,
        grid_factor: int = 1,
        labels: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Videos of content seeds with other motion seeds, of one class unless ``labels`` are given."""
        labels = labels or sampling.pick_labels(self.generator, self.seeds[:1] * len(contents))
        latents = sampling.draw_latents(contents, motion_seeds=motions, labels=labels)
        times, truncation = self.times if times is None else times, self.config.truncation
        return sampling.render(self.generator, latents, times, truncation=truncation, grid_factor=grid_factor)

    def finer(self, count: int = 3, columns: int = 4) -> None:
        """The same frames at the trained size and on a grid that is finer by an integer factor."""
        seeds, resolution = self.seeds[:count], self.generator.config.resolution
        factor = max(2, contact_sheet.scale_for(resolution, FINE_SIZE))
        times = self.times[:: max(1, len(self.times) // columns)][:columns]
        labels = sampling.pick_labels(self.generator, seeds)
        fine = self.mixed(seeds, seeds, times, grid_factor=factor, labels=labels)
        trained = self.mixed(seeds[:1], seeds[:1], times, labels=labels and labels[:1])
        sections = [(f"synthesized on a grid of {factor * resolution} x {factor * resolution}", fine)]
        sections += [(f"the first one in the pixels of the training, {resolution} x {resolution}", trained)]
        contact_sheet.save_png(
            self.folder / "finer.png", contact_sheet.frame_rows(sections, columns=columns, size=factor * resolution)
        )

    def abilities(self, count: int = 3) -> None:
        """Times beyond the trained ones and between them, motions of one content, contents with one motion."""
        one, many, factor = self.seeds[:1], self.seeds[:count], self.scale
        beyond, between, inside = (torch.linspace(*span, 8) for span in ((-BEYOND, 1 + BEYOND), (0.4, 0.6), (0.0, 1.0)))

        def videos(contents: Sequence[int], motions: Sequence[int], times: torch.Tensor) -> torch.Tensor:
            return self.mixed(contents, motions, times, grid_factor=factor)

        sections = [
            (f"before 0 and after 1: times from {-BEYOND:g} to {1 + BEYOND:g}", videos(one, one, beyond)),
            ("between the trained times: from 0.4 to 0.6", videos(one, one, between)),
            (f"one content, {count} motions", videos(one * count, many, inside)),
            (f"one motion, {count} contents", videos(many, one * count, inside)),
        ]
        contact_sheet.save_png(self.folder / "abilities.png", contact_sheet.frame_rows(sections))

    def motion_and_content(self, count: int = 5) -> None:
        """One content with many motions, and one motion with many contents."""
        many, same = self.seeds[:count], self.seeds[:1] * count
        motions, contents = self.mixed(same, many), self.mixed(many, same)
        both = [("one content, five motions", motions), ("one motion, five contents", contents)]
        contact_sheet.save_png(self.folder / "motion_and_content.png", contact_sheet.frame_rows(both))
        self.play("one_content.mp4", motions, columns=count)
        self.play("one_motion.mp4", contents, columns=count)

    def each_class(self) -> None:
        """A video of each of the first classes, by number; without classes, remove the files of an earlier model."""
        names = self.classes[:MOST_CLASSES]
        if not names:
            for file in (CLASSES, CLASSES_PLAYING):
                (self.folder / file).unlink(missing_ok=True)
            return
        videos = self.generated(len(names), labels=range(len(names)))
        contact_sheet.save_png(self.folder / CLASSES, contact_sheet.named_rows(names, videos))
        self.play(CLASSES_PLAYING, videos, columns=4)

    def extrapolated(self, count: int = 4) -> None:
        """Times before 0 and after 1, marked by the color of a bar above each frame."""
        videos = self.generated(count, self.extended_times)
        bar = max(2, videos.shape[-1] // 10)
        marked = torch.nn.functional.pad(videos, (0, 0, bar, 0))
        inside = (self.extended_times >= -1e-6) & (self.extended_times <= 1 + 1e-6)
        colors = torch.where(inside[:, None], torch.tensor(INSIDE), torch.tensor(OUTSIDE)).to(torch.uint8)
        marked[:, :, :, :bar] = colors[:, :, None, None]
        self.play("extrapolation.mp4", marked, columns=count)

    def interpolated(self, count: int = 2) -> None:
        """The trained frame rate next to four times as many frames, over the same time."""
        fine = self.generated(count, self.fine_times)
        held = fine[:, torch.arange(len(self.fine_times)) // FACTOR * FACTOR]
        self.play("interpolation.mp4", torch.stack([held, fine], dim=1).flatten(0, 1), columns=2, fps=FACTOR * FPS)


def clips_of_different_videos(folder: Path, count: int, seed: int) -> torch.Tensor:
    """Up to ``count`` real clips, each of another video."""
    found: dict[str, torch.Tensor] = {}
    for clip in loader.read_clips(folder, split="train", count=8 * count, seed=seed):
        found.setdefault(video_of(clip.name), clip.frames)
        if len(found) == count:
            break
    return torch.stack(list(found.values()))


@dataclass(frozen=True, kw_only=True)
class NearestClips:
    """``positions`` of the real clip nearest to each generated one, and two median distances to the nearest real clip:
    of generated clips, and of other real ones (``held_out``).
    """

    positions: list[int]
    generated: float
    held_out: float

    @property
    def ratio(self) -> float:
        """How far generated clips are from the real ones, relative to other real clips; low if the model copies."""
        return self.generated / self.held_out if self.held_out > 0 else float("inf")


def nearest(real: Array, generated: Array, real_vs_real: Array) -> NearestClips:
    """Nearest neighbors by Euclidean distance of features [N, D], scaled to the standard deviations of ``real``."""
    scale = np.maximum(real.std(axis=0), 1e-8)
    distances, others = (cdist(features / scale, real / scale) for features in (generated, real_vs_real))
    return NearestClips(
        positions=distances.argmin(axis=1).tolist(),
        generated=float(np.median(distances.min(axis=1))),
        held_out=float(np.median(others.min(axis=1))),
    )


def clips_at(folder: Path, config: EvaluationConfig, positions: Sequence[int]) -> torch.Tensor:
    """The real clips at these positions of the protocol's order."""
    part = reference_features.parts_of(loader.read_index(folder), config)["reference"]
    blocks = [range(position, position + 1) for position in positions]
    clips = reference_features.clips(folder, config.measured_by(), part, config.seed, blocks)
    return torch.stack([clip.frames for clip in clips])
