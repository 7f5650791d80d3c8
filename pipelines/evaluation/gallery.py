"""Pictures and videos of a generator for people, each a file.

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
PER_SECOND = 8.0  # frames a second of the videos for people
FINER = 4  # times the rate, of the interpolation
LONG = 128  # frames
MOST_CLASSES = 16  # shown of a class-conditional generator
BEYOND = 0.5  # how far the extrapolation goes on both sides
INSIDE, OUTSIDE = (45, 138, 78), (196, 87, 15)  # colours of frames within [0, 1] and beyond


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """A file and what it shows: ``title`` and ``caption`` for the page."""

    file: str
    title: str
    caption: str


class Gallery:
    """What is rendered for people, of one generator with the settings of its evaluation, into ``folder``."""

    def __init__(self, generator: VideoGenerator, config: EvaluationConfig, frames: int, folder: Path) -> None:
        self.generator, self.config, self.frames, self.folder = generator, config, frames, folder
        self.times = torch.linspace(0, 1, frames)
        self.codes = [*seeds_of(config.seed, 0, 0, 24)]
        self.scale = contact_sheet.scale_for(generator.config.resolution)

    def generated(self, count: int, times: torch.Tensor | None = None) -> torch.Tensor:
        """The first videos of the first draw."""
        return sampling.sample(
            self.generator,
            seeds=self.codes[:count],
            times=self.times if times is None else times,
            truncation=self.config.truncation,
        )

    def strips(self, many: torch.Tensor, reference: torch.Tensor) -> None:
        """strip.png: generated videos above real ones."""
        page = contact_sheet.frame_rows([("generated", many[:6]), ("real", reference[:4])])
        contact_sheet.save_png(self.folder / "strip.png", page)

    def play(
        self, name: str, videos: torch.Tensor, *, columns: int, per_second: float = PER_SECOND, rounds: int = 1
    ) -> str:
        """Videos side by side as mp4; its name."""
        playing = contact_sheet.tiles(videos, columns=columns)
        video_writer.write_video(self.folder / name, torch.cat([playing] * rounds), per_second, scale=self.scale)
        return name

    def mixed(self, contents: Sequence[int], motions: Sequence[int]) -> torch.Tensor:
        """Videos of contents with other motions."""
        labels = sampling.pick_labels(self.generator, self.codes[:1] * len(contents))
        latents = sampling.draw_latents(contents, motion_seeds=motions, labels=labels)
        return sampling.render(self.generator, latents, self.times, truncation=self.config.truncation)

    def motion_and_content(self, count: int = 5) -> list[GalleryItem]:
        """One content with many motions, and one motion with many contents."""
        own, same = self.codes[:count], self.codes[:1] * count
        motions, contents = self.mixed(same, own), self.mixed(own, same)
        both = [("one content, five motions", motions), ("one motion, five contents", contents)]
        contact_sheet.save_png(self.folder / "motion_and_content.png", contact_sheet.frame_rows(both))
        return [
            GalleryItem(
                file=self.play("one_content.mp4", motions, columns=count),
                title="One content, many motions",
                caption="The same content code with five motion codes.",
            ),
            GalleryItem(
                file=self.play("one_motion.mp4", contents, columns=count),
                title="One motion, many contents",
                caption="The same motion code with five content codes.",
            ),
        ]

    def each_class(self, names: Sequence[str]) -> list[GalleryItem]:
        """A video of each of the first classes, in the order of their numbers; without classes, no file stays of an earlier model."""
        if not names:
            for file in (CLASSES, CLASSES_PLAYING):
                (self.folder / file).unlink(missing_ok=True)
            return []
        which = "all classes" if len(names) <= MOST_CLASSES else f"the first {MOST_CLASSES} of {len(names)} classes"
        names = names[:MOST_CLASSES]
        videos = sampling.sample(
            self.generator,
            seeds=self.codes[: len(names)],
            times=self.times,
            labels=range(len(names)),
            truncation=self.config.truncation,
        )
        contact_sheet.save_png(self.folder / CLASSES, contact_sheet.named_rows(names, videos))
        return [
            GalleryItem(
                file=self.play(CLASSES_PLAYING, videos, columns=4),
                title="One of each class",
                caption=f"Row by row, {which}: {', '.join(names)}. The first seeds; not chosen.",
            )
        ]

    def beyond(self, count: int = 4) -> GalleryItem:
        """Before 0 and after 1, marked by the colour of a bar above each frame."""
        more = max(2, round(BEYOND * (self.frames - 1)))
        step = 1 / max(self.frames - 1, 1)
        times = torch.arange(-more, self.frames + more) * step
        videos = self.generated(count, times)
        bar = max(2, videos.shape[-1] // 10)
        inside = (times >= -1e-6) & (times <= 1 + 1e-6)
        marked = torch.empty(*videos.shape[:3], videos.shape[3] + bar, videos.shape[4], dtype=torch.uint8)
        for number, within in enumerate(inside.tolist()):
            color = torch.tensor(INSIDE if within else OUTSIDE, dtype=torch.uint8)
            marked[:, number, :, :bar] = color[:, None, None]
        marked[:, :, :, bar:] = videos
        return GalleryItem(
            file=self.play("extrapolation.mp4", marked, columns=count),
            title="Before 0 and after 1",
            caption=(
                f"t runs from {times[0]:.2f} to {times[-1]:.2f}; the bar is green within the trained span [0, 1] and orange"
                " beyond it."
            ),
        )

    def finer(self, count: int = 2) -> GalleryItem:
        """The trained rate beside four times as many frames, over the same time."""
        many = FINER * (self.frames - 1) + 1
        fine = self.generated(count, torch.linspace(0, 1, many))
        held = fine[:, torch.arange(many) // FINER * FINER]
        pairs = torch.stack([held, fine], dim=1).flatten(0, 1)
        return GalleryItem(
            file=self.play("interpolation.mp4", pairs, columns=2, per_second=FINER * PER_SECOND),
            title="Four times the rate",
            caption=f"Left: the trained {self.frames} frames. Right: {many} frames over the same time.",
        )

    def long(self, count: int = 4) -> GalleryItem:
        """128 frames."""
        videos = self.generated(count, torch.linspace(0, 1, LONG))
        return GalleryItem(
            file=self.play("long.mp4", videos, columns=count, per_second=24),
            title="128 frames",
            caption=f"t from 0 to 1 in {LONG} frames.",
        )

    def compared(self, alike: torch.Tensor) -> GalleryItem:
        """Generated videos above the real clips that are ``alike``."""
        made = self.generated(len(alike))
        frames = min(made.shape[1], alike.shape[1])
        return GalleryItem(
            file=self.play("nearest.mp4", torch.cat([made[:, :frames], alike[:, :frames]]), columns=len(alike)),
            title="Nearest real clips",
            caption="Above: generated. Below each: the real clip nearest to it in the detector's features.",
        )


def write_pictures(
    gallery: Gallery, reference: torch.Tensor, classes: Sequence[str]
) -> tuple[dict[str, str], dict[str, list[GalleryItem]]]:
    """All pictures and videos but the nearest clips -> what each file shows by name, and the page's groups.

    ``classes`` are the names of a class-conditional generator's classes.
    """
    many = gallery.generated(24)
    gallery.strips(many, reference)
    gallery.play("videos.mp4", many, columns=6, rounds=3)
    video_writer.write_gif(
        gallery.folder / "videos.gif", contact_sheet.tiles(many, columns=6), PER_SECOND, scale=gallery.scale
    )
    shown = {
        "side": [
            GalleryItem(
                file=gallery.play("real.mp4", reference[:12], columns=4),
                title="Real",
                caption="Clips of different training videos.",
            ),
            GalleryItem(
                file=gallery.play("generated.mp4", many[:12], columns=4),
                title="Generated",
                caption="The first seeds of the first draw; not chosen.",
            ),
        ],
        "classes": gallery.each_class(classes),
        "codes": gallery.motion_and_content(),
        "time": [gallery.beyond(), gallery.finer(), gallery.long()],
    }
    files = {
        "strip.png": "rows are videos, columns are times; generated above, real below",
        "videos.mp4": "24 generated videos playing, three times",
        "videos.gif": "24 generated videos playing",
        "motion_and_content.png": "one content with five motions, one motion with five contents",
        "distances.png": "the figure between floor and untrained generator",
        **({CLASSES: "a row for each class"} if classes else {}),
        **{one.file: one.title for group in shown.values() for one in group},
    }
    return files, shown


def different_reals(folder: Path, count: int, seed: int) -> torch.Tensor:
    """Up to ``count`` real clips of different videos."""
    found: dict[str, torch.Tensor] = {}
    for clip in loader.read_clips(folder, split="train", count=8 * count, seed=seed):
        found.setdefault(video_of(clip.name), clip.frames)
        if len(found) == count:
            break
    return torch.stack(list(found.values()))
