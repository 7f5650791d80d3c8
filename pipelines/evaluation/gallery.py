"""Pictures and videos of a generator, for the report.

Legend: B videos, T times, H, W pixels; videos are uint8 [B, T, 3, H, W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from digan import sampling
from digan.models.generator import VideoGenerator
from pipelines.dataset import loader
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import seeds_of
from pipelines.evaluation.reference_features import video_of
from pipelines.report import contact_sheet
from pipelines.video import video_writer

CLASSES, CLASSES_PLAYING = "classes.png", "classes.mp4"
FPS = 8.0
FACTOR = 4  # frame rate of the interpolation, in trained rates
LONG = 128  # frames
MOST_CLASSES = 16  # shown of a class-conditional generator
BEYOND = 0.5  # length of the extrapolation on each side, in trained spans
INSIDE, OUTSIDE = (45, 138, 78), (196, 87, 15)  # colors of frames within [0, 1] and beyond
SHOWN = {  # title and caption of each video on the page
    "real.mp4": ("Real", "Clips of different training videos."),
    "generated.mp4": ("Generated", "The first seeds of the first draw; not chosen."),
    "one_content.mp4": ("One content, many motions", "The same content code with five motion codes."),
    "one_motion.mp4": ("One motion, many contents", "The same motion code with five content codes."),
    CLASSES_PLAYING: ("One of each class", "Row by row, {classes}. The first seeds; not chosen."),
    "extrapolation.mp4": (
        "Before 0 and after 1",
        "t runs from {first:.2f} to {last:.2f}; the bar is green within the trained span [0, 1] and orange beyond it.",
    ),
    "interpolation.mp4": (
        "Four times the rate",
        "Left: the trained {trained} frames. Right: {frames} frames over the same time.",
    ),
    "long.mp4": ("128 frames", "t from 0 to 1 in 128 frames."),
    "nearest.mp4": (
        "Nearest real clips",
        "Above: generated. Below each: the real clip nearest to it in the detector's features.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """A video file, with its title and caption on the page."""

    file: str
    title: str
    caption: str


class Gallery:
    """Renders videos of one generator, with the settings of its evaluation, into ``folder``."""

    def __init__(self, generator: VideoGenerator, config: EvaluationConfig, frames: int, folder: Path) -> None:
        self.generator, self.config, self.frames, self.folder = generator, config, frames, folder
        self.times = torch.linspace(0, 1, frames)
        self.seeds = list(seeds_of(config.seed, 0, range(24)))
        self.scale = contact_sheet.scale_for(generator.config.resolution)

    def generated(
        self, count: int, times: torch.Tensor | None = None, labels: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The first ``count`` videos of the first draw, at other ``times`` or of given classes if they are given."""
        return sampling.sample(
            self.generator,
            seeds=self.seeds[:count],
            times=self.times if times is None else times,
            labels=labels,
            truncation=self.config.truncation,
        )

    def play(self, name: str, videos: torch.Tensor, *, columns: int, fps: float = FPS, **values: object) -> GalleryItem:
        """Write videos side by side as the mp4 file ``name``; ``values`` complete its caption."""
        tiles = contact_sheet.tiles(videos, columns=columns)
        video_writer.write_video(self.folder / name, tiles, fps, scale=self.scale)
        title, caption = SHOWN[name]
        return GalleryItem(file=name, title=title, caption=caption.format_map(values))

    def mixed(self, contents: Sequence[int], motions: Sequence[int]) -> torch.Tensor:
        """Videos of content seeds with other motion seeds."""
        labels = sampling.pick_labels(self.generator, self.seeds[:1] * len(contents))
        latents = sampling.draw_latents(contents, motion_seeds=motions, labels=labels)
        return sampling.render(self.generator, latents, self.times, truncation=self.config.truncation)

    def motion_and_content(self, count: int = 5) -> list[GalleryItem]:
        """One content with many motions, and one motion with many contents."""
        many, same = self.seeds[:count], self.seeds[:1] * count
        motions, contents = self.mixed(same, many), self.mixed(many, same)
        both = [("one content, five motions", motions), ("one motion, five contents", contents)]
        contact_sheet.save_png(self.folder / "motion_and_content.png", contact_sheet.frame_rows(both))
        return [
            self.play("one_content.mp4", motions, columns=count),
            self.play("one_motion.mp4", contents, columns=count),
        ]

    def each_class(self, names: Sequence[str]) -> list[GalleryItem]:
        """A video of each of the first classes, by number; without classes, remove the files of an earlier model."""
        if not names:
            for file in (CLASSES, CLASSES_PLAYING):
                (self.folder / file).unlink(missing_ok=True)
            return []
        which = "all classes" if len(names) <= MOST_CLASSES else f"the first {MOST_CLASSES} of {len(names)} classes"
        names = names[:MOST_CLASSES]
        videos = self.generated(len(names), labels=range(len(names)))
        contact_sheet.save_png(self.folder / CLASSES, contact_sheet.named_rows(names, videos))
        return [self.play(CLASSES_PLAYING, videos, columns=4, classes=f"{which}: {', '.join(names)}")]

    def extrapolated(self, count: int = 4) -> GalleryItem:
        """Times before 0 and after 1, marked by the color of a bar above each frame."""
        more = max(2, round(BEYOND * (self.frames - 1)))
        times = torch.arange(-more, self.frames + more) * (1 / max(self.frames - 1, 1))
        videos = self.generated(count, times)
        bar = max(2, videos.shape[-1] // 10)
        marked = torch.nn.functional.pad(videos, (0, 0, bar, 0))
        inside = (times >= -1e-6) & (times <= 1 + 1e-6)
        colors = torch.where(inside[:, None], torch.tensor(INSIDE), torch.tensor(OUTSIDE)).to(torch.uint8)
        marked[:, :, :, :bar] = colors[:, :, None, None]
        return self.play("extrapolation.mp4", marked, columns=count, first=float(times[0]), last=float(times[-1]))

    def interpolated(self, count: int = 2) -> GalleryItem:
        """The trained frame rate next to four times as many frames, over the same time."""
        frames = FACTOR * (self.frames - 1) + 1
        fine = self.generated(count, torch.linspace(0, 1, frames))
        held = fine[:, torch.arange(frames) // FACTOR * FACTOR]
        pairs = torch.stack([held, fine], dim=1).flatten(0, 1)
        return self.play("interpolation.mp4", pairs, columns=2, fps=FACTOR * FPS, trained=self.frames, frames=frames)

    def long(self, count: int = 4) -> GalleryItem:
        """128 frames over the trained span."""
        videos = self.generated(count, torch.linspace(0, 1, LONG))
        return self.play("long.mp4", videos, columns=count, fps=24)

    def compared(self, real: torch.Tensor) -> GalleryItem:
        """Generated videos above their nearest clips, ``real``."""
        made = self.generated(len(real))
        frames = min(made.shape[1], real.shape[1])
        both = torch.cat([made[:, :frames], real[:, :frames]])
        return self.play("nearest.mp4", both, columns=len(real))


def write_pictures(
    gallery: Gallery, real: torch.Tensor, classes: Sequence[str]
) -> tuple[dict[str, str], dict[str, list[GalleryItem]]]:
    """Write all pictures and videos but the nearest clips.

    The values are what each file shows, by name, and the page's groups. ``classes`` are the names of the generator's classes.
    """
    many = gallery.generated(24)
    sheet = contact_sheet.frame_rows([("generated", many[:6]), ("real", real[:4])])
    contact_sheet.save_png(gallery.folder / "strip.png", sheet)
    tiles = contact_sheet.tiles(many, columns=6)
    video_writer.write_video(gallery.folder / "videos.mp4", tiles.repeat(3, 1, 1, 1), FPS, scale=gallery.scale)
    video_writer.write_gif(gallery.folder / "videos.gif", tiles, FPS, scale=gallery.scale)
    groups = {
        "side": [gallery.play("real.mp4", real[:12], columns=4), gallery.play("generated.mp4", many[:12], columns=4)],
        "classes": gallery.each_class(classes),
        "codes": gallery.motion_and_content(),
        "time": [gallery.extrapolated(), gallery.interpolated(), gallery.long()],
    }
    shown = {
        "strip.png": "rows are videos, columns are times; generated above, real below",
        "videos.mp4": "24 generated videos playing, three times",
        "videos.gif": "24 generated videos playing",
        "motion_and_content.png": "one content with five motions, one motion with five contents",
        "distances.png": "the metric, with real vs. real and the untrained generator for comparison",
        **({CLASSES: "a row for each class"} if classes else {}),
        **{item.file: item.title for group in groups.values() for item in group},
    }
    return shown, groups


def clips_of_different_videos(folder: Path, count: int, seed: int) -> torch.Tensor:
    """Up to ``count`` real clips, each of another video."""
    found: dict[str, torch.Tensor] = {}
    for clip in loader.read_clips(folder, split="train", count=8 * count, seed=seed):
        found.setdefault(video_of(clip.name), clip.frames)
        if len(found) == count:
            break
    return torch.stack(list(found.values()))
