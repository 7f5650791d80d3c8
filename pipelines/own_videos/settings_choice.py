"""Values of params.yaml for a folder of videos, each with a reason.

What works for natural scenes that move, at 32x32 on two cores: docs/experiments.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from digan.data.splits import TRAIN, split_of
from digan.errors import UserError
from digan.system import available_cores
from pipelines.own_videos.clip_settings import STATIC, VISIBLE, ClipPlan
from pipelines.own_videos.survey import Survey
from pipelines.report.text_format import grouped

SIZES = {32: 0, 64: 36_000, 128: 250_000, 256: 1_000_000}  # pixels, and the clips below which a training is too short
ENOUGH_CLIPS, ENOUGH_VIDEOS = 2000, 100  # below either, augmentation
CLASS_VIDEOS, MOST_CLASSES = 10, 101
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval"}  # folders that are no classes
TRAINING_SHARE = 0.8  # of the measured speed, which has neither data nor communication nor checkpoints
SHARES = (0.2, 0.1, 0.3, 0.4, 0.5, 0.05, 0.6, 0.7)

Measure = Callable[[dict[str, Any]], float]  # values by key -> clips per second of all workers


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A key of params.yaml, its value and the reason."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training can use: cores and GPUs."""

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> Machine:
        import torch

        return cls(cores=available_cores(), gpus=torch.cuda.device_count())


def choose(survey: Survey, clips: ClipPlan, machine: Machine, *, hours: float, measure: Measure) -> list[Setting]:
    """All settings that differ for own videos. ``measure`` gives the speed with some of them."""
    fixed = [
        *source(survey),
        *clip_settings(survey, clips),
        *model(machine),
        *optimization(clips, survey),
        *workers(machine),
    ]
    values = {each.key: each.value for each in fixed}
    size, speed, reason = resolution(survey, values, hours=hours, measure=measure)
    return [*fixed, Setting(key="clips.resolution", value=size, reason=reason), *length(speed, hours)]


def source(survey: Survey) -> list[Setting]:
    """Name, path and classes of the source, and the name of the registered model."""
    use, reason = classes(survey.classes)
    text = unicodedata.normalize("NFKD", survey.folder.resolve().name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "videos"
    return [
        Setting(key="source.name", value="folder", reason="files of videos in a folder"),
        Setting(key="source.path", value=str(survey.folder.resolve()), reason=f"{len(survey.videos)} videos"),
        Setting(key="source.classes", value=use, reason=reason),
        Setting(key="registry.model", value=f"digan-{name}", reason="versions of other data stay what they are"),
    ]


def classes(counts: dict[str, int]) -> tuple[bool, str]:
    """Whether sub-folders are used as classes, and why."""
    names = [name for name in counts if name]
    if not names:
        return False, "no sub-folders, so no classes"
    if {name.casefold() for name in names} <= SPLITS:
        return False, f"the sub-folders {', '.join(names)} look like splits, not classes"
    if len(names) == 1:
        return False, f"one sub-folder alone ({names[0]}) makes no classes"
    if "" in counts:
        return False, f"{counts['']} videos are in no sub-folder and would be rejected"
    if len(names) > MOST_CLASSES:
        return False, f"{len(names)} sub-folders are too many for classes (at most {MOST_CLASSES})"
    least = min(names, key=counts.__getitem__)
    if counts[least] < CLASS_VIDEOS:
        return False, f"the sub-folder {least} has {counts[least]} videos; a class needs {CLASS_VIDEOS} or more"
    return True, f"{len(names)} sub-folders with {counts[least]} videos or more each"


def clip_settings(survey: Survey, clips: ClipPlan) -> list[Setting]:
    """Frames, stride, rate, what is dropped, and the share for validation."""
    mixed = (
        f"rates from {survey.rates[0]:g} to {survey.rates[-1]:g}; 95 % of the videos reach this one"
        if clips.fps
        else ""
    )
    shown = f"over {clips.span} frames the picture changes by {clips.change:.0f} levels where it changes most"
    shows = (
        "motion shows from 30"
        if clips.change >= VISIBLE
        else f"motion shows from {VISIBLE:.0f}; longer clips add little"
    )
    share, parts = validation_share([video.name for video in survey.videos], survey)
    still = f"{clips.static:.0%} of the videos change by less than {STATIC:.0f} levels over a clip"
    return [
        Setting(
            key="clips.frames", value=clips.frames, reason=f"{clips.short:.0%} of the videos are too short for a clip"
        ),
        Setting(key="clips.frame_stride", value=clips.stride, reason=f"{shown}; {shows}"),
        Setting(key="clips.fps", value=clips.fps, reason=mixed or "the videos' rates are alike"),
        Setting(key="clips.drop_static", value=0.3 if clips.static else 0.0, reason=still),
        Setting(
            key="clips.drop_black", value=8.0 if clips.dark else 0.0, reason=f"{clips.dark:.0%} of the videos are black"
        ),
        Setting(key="clips.validation_share", value=share, reason=parts),
    ]


def validation_share(names: list[str], survey: Survey) -> tuple[float, str]:
    """A share with videos in both splits. ``UserError`` if there is none."""
    for share in SHARES:
        train = sum(split_of(name, share) == TRAIN for name in names)
        if 0 < train < len(names):
            return share, f"{train} videos to train on, {len(names) - train} held out"
    problem = f"its {len(names)} videos cannot be divided into train and validation"
    raise UserError(f"{survey.folder}: {problem}; cut a long video into several, or add videos")


def model(machine: Machine) -> list[Setting]:
    """Channels and drift."""
    channels = 128 if machine.gpus else 32
    why = (
        "for a GPU; not tried on own videos"
        if machine.gpus
        else "known to work on a few cores; 64 take three times as long"
    )
    return [
        Setting(key="model.channel_max", value=channels, reason=why),
        Setting(key="model.drift", value=0, reason="the paper's model"),
    ]


def optimization(clips: ClipPlan, survey: Survey) -> list[Setting]:
    """Batch, rates, penalties and augmentation."""
    few = clips.clips < ENOUGH_CLIPS or survey.usable < ENOUGH_VIDEOS
    augment = "color,translation" if few else ""
    counted = f"{grouped(clips.clips)} clips of {survey.usable:.0f} videos"
    less = f"{counted}: with fewer than {grouped(ENOUGH_CLIPS)} of {ENOUGH_VIDEOS} the discriminator memorizes them"
    known = "from trials on drawn skies at 32x32"
    return [
        Setting(key="training.batch_size", value=8, reason=known),
        Setting(key="training.micro_batch", value=4, reason=f"{known}; two workers can share a batch"),
        Setting(key="training.generator_lr", value=0.004, reason=known),
        Setting(
            key="training.discriminator_lr",
            value=0.002,
            reason=f"{known}; at 0.003 the discriminator became too strong",
        ),
        Setting(key="training.r1_gamma", value=10.0, reason=f"{known}; with 0.3 pictures stayed blotches"),
        Setting(key="training.mismatch_weight", value=0.5, reason=known),
        Setting(key="training.augment", value=augment, reason=less if few else f"{counted} are enough without"),
    ]


def workers(machine: Machine) -> list[Setting]:
    """How the machine is shared between workers: two at most, since a batch has two micro-batches."""
    number = min(2, machine.gpus or machine.cores)
    has = f"{machine.gpus} GPUs" if machine.gpus else f"{machine.cores} cores"
    return [
        Setting(key="cluster.workers", value=number, reason=f"this machine has {has}"),
        Setting(key="cluster.cpus_per_worker", value=max(1, machine.cores // number), reason=f"{machine.cores} cores"),
        Setting(key="cluster.gpus_per_worker", value=int(machine.gpus > 0), reason=f"{machine.gpus} GPUs"),
    ]


def resolution(survey: Survey, values: dict[str, Any], *, hours: float, measure: Measure) -> tuple[int, float, str]:
    """The largest size for which the time is enough, its clips per second, and the reason."""
    found: tuple[int, float, str] | None = None
    for size, needed in SIZES.items():
        if found and size > survey.side:
            return (*found[:2], f"{found[2]}; the videos have {survey.side} pixels, too few for {size}")
        if found and found[1] * hours * 3600 < needed:  # a larger size is slower still
            return (*found[:2], f"{found[2]}; too few for {size}, which needs {grouped(needed)}")
        speed = TRAINING_SHARE * measure({**values, "clips.resolution": size})
        seen = grouped(int(speed * hours * 3600))
        if found and speed * hours * 3600 < needed:
            return (*found[:2], f"{found[2]}; at {size} it would be {seen}, and {grouped(needed)} are needed")
        found = size, speed, f"about {seen} clips in {hours:g} h"
    assert found
    return found


def length(speed: float, hours: float) -> list[Setting]:
    """Number of clips to train on, and the intervals that follow from it."""
    exact = speed * hours * 3600
    unit = 10 ** max(2, len(str(int(exact))) - 2)
    clips = max(1000, int(exact) // unit * unit)
    tenth = max(500, clips // 10 // 100 * 100)
    reason = f"{hours:g} h at {speed:.1f} clips a second, {TRAINING_SHARE:.0%} of the speed measured here"
    return [
        Setting(key="training.clips", value=clips, reason=reason),
        Setting(key="training.checkpoint_interval", value=tenth, reason="ten in a run, and at most so much is lost"),
        Setting(key="training.sample_interval", value=max(250, tenth // 2), reason="twenty sheets of samples in a run"),
        Setting(key="training.snapshot_interval", value=2 * tenth, reason="the evaluation compares the latest ones"),
    ]
