"""What to expect of a training on own videos, and warnings where the data will not be enough."""

from __future__ import annotations

import os
from collections.abc import Iterator

from digan.errors import listed
from pipelines.own_videos.clip_settings import ClipPlan
from pipelines.own_videos.settings_choice import ENOUGH_CLIPS, ENOUGH_VIDEOS
from pipelines.own_videos.survey import Survey
from pipelines.own_videos.video_look import MOST_FRAMES
from pipelines.report.text_format import duration, grouped

RECOGNIZABLE, LEAST = 36_000, 12_000  # clips after which drawn skies at 32x32 were recognizable; before, colors alone
BUSY = 0.5  # load for each core
MANY_CUTS, MANY_STATIC, MANY_LOST = 0.1, 0.2, 0.1


def described(survey: Survey, clips: ClipPlan) -> list[str]:
    """What is in the folder, as lines."""
    sizes = sorted({each.size for each in survey.looks}, key=lambda size: size[0] * size[1])
    lengths = sorted(each.frames for each in survey.looks)
    rates = survey.rates
    span = f"{sizes[0][0]}x{sizes[0][1]}" + (f" to {sizes[-1][0]}x{sizes[-1][1]}" if len(sizes) > 1 else "")
    rate = f"{rates[0]:g}" + (f" to {rates[-1]:g}" if rates and rates[0] < rates[-1] else "") if rates else "unknown"
    return [
        f"{len(survey.videos)} videos; {survey.decoded} of them decoded, at most {MOST_FRAMES} frames of each",
        f"size {span}; {rate} frames a second; {lengths[0]} to {lengths[-1]} frames, median {lengths[len(lengths) // 2]}",
        f"motion: a change of {clips.change:.0f} levels over a clip; cuts in {clips.with_cut:.0%} of the clips",
        f"about {grouped(clips.clips)} clips, {grouped(clips.apart)} of them without common frames",
    ]


def busy(cores: int) -> str:
    """A line if other programs use the machine, which makes the measured speed too low; else empty."""
    load = os.getloadavg()[0]
    line = f"other programs are using this machine (load {load:.1f}), so the measured speed may be too low"
    return f"{line}; run `digan init` again when it is idle" if load > BUSY * cores else ""


def expected(clips: int, size: int, clips_per_second: float) -> str:
    """What the training will show, and when."""
    at = duration(RECOGNIZABLE / clips_per_second)
    known = (
        f"at 32x32, drawn skies were recognizable after {grouped(RECOGNIZABLE)} clips (here {at}); motion comes last"
    )
    more = f"; {size}x{size} takes several times as many clips" if size > 32 else ""
    return f"{known}{more}; scenes that differ much from each other, such as people, take longer"


def warnings(survey: Survey, clips: ClipPlan, *, training_clips: int) -> Iterator[str]:
    """One line for each way in which data or time will not be enough."""
    if clips.clips < ENOUGH_CLIPS or survey.usable < ENOUGH_VIDEOS:
        few = f"{grouped(clips.clips)} clips of {survey.usable:.0f} videos are few: samples will resemble these videos"
        enough = f"{ENOUGH_VIDEOS} videos with {grouped(ENOUGH_CLIPS)} clips"
        yield f"{few}; add some, up to {enough}, or begin with a model of similar videos (training.start_from)"
    if clips.with_cut > MANY_CUTS:
        problem = f"{clips.with_cut:.0%} of the clips span a cut, which a continuous video cannot show"
        yield f"{problem}; divide the videos at their cuts first (docs/own-videos.md)"
    if clips.static > MANY_STATIC:
        yield f"{clips.static:.0%} of the videos hardly move, so there is little motion to learn; leave them out"
    if clips.short > MANY_LOST:
        yield f"{clips.short:.0%} of the videos are too short for a clip of {clips.span} frames and will be rejected"
    slow = sum((each.fps or 0) < 0.99 * clips.fps for each in survey.looks)
    if slow:
        yield f"{slow} of the videos that were decoded have fewer than {clips.fps:g} frames a second and will be rejected"
    if survey.rejected:
        names = listed(f"{name} {reason}" for name, reason in sorted(survey.rejected.items()))
        yield f"{len(survey.rejected)} videos cannot be used: {names}"
    if survey.side < 32:
        yield f"the videos have {survey.side} pixels on the short side and are enlarged to 32"
    wide = sum(max(each.size) > 1.5 * min(each.size) for each in survey.looks) / len(survey.looks)
    if wide > 0.5:
        yield f"{wide:.0%} of the videos are much wider than high, or higher: only the square in the center is used"
    if training_clips < LEAST:
        yield f"{grouped(training_clips)} clips are too few for more than colors; give more --hours"
