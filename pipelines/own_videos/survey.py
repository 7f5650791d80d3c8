"""What is in a folder of videos, from all names and a bounded number of decoded videos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from digan.data.splits import shuffled
from digan.errors import UserError, listed
from digan.system import available_cores
from pipelines.own_videos.scenes import Scenes
from pipelines.own_videos.video_look import FUNCTION, VideoLook
from pipelines.report.progress_display import ProgressDisplay
from pipelines.sources.base import CommonConfig, SourceFolder
from pipelines.sources.folder import FolderConfig
from pipelines.video.isolation import IsolatedPool, ItemLost
from pipelines.video.raw_video import RawVideo

MOST_VIDEOS = 40  # decoded
SECONDS = 60.0  # time limit for a video
MOST_RATE = 240.0  # of clips.fps
EQUAL_RATES = 1.1  # rates that differ by less than this factor count as equal


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The usable ``videos`` of a folder by name, the ``looks`` at some of them, and those that are ``rejected``, with the
    reason: by their names, or when they were decoded.
    """

    folder: Path
    videos: tuple[RawVideo, ...]
    looks: tuple[VideoLook, ...]
    rejected: dict[str, str]
    decoded: int

    @property
    def usable(self) -> float:
        """Estimated number of videos that can be decoded."""
        return len(self.videos) * len(self.looks) / self.decoded

    @cached_property
    def side(self) -> int:
        """Pixels of the short side that nine of ten videos have."""
        return int(np.quantile([min(each.size) for each in self.looks], 0.1))

    @cached_property
    def rates(self) -> list[float]:
        """Frames per second of the videos that were decoded, in order."""
        return sorted(each.fps for each in self.looks if each.fps)

    @property
    def common_rate(self) -> float:
        """The rate that 95 % of the videos reach, where rates differ; 0 where they do not."""
        if len(self.rates) < 2 or self.rates[-1] < EQUAL_RATES * self.rates[0]:
            return 0.0
        return min(MOST_RATE, float(np.floor(100 * np.quantile(self.rates, 0.05, method="lower")) / 100))

    def scenes(self, fps: float) -> list[Scenes]:
        """The scenes of each decoded video at ``fps`` frames per second; 0: at its own rate."""
        return [Scenes.of(each, fps) for each in self.looks if not fps or (each.fps or 0) >= 0.99 * fps]

    @cached_property
    def classes(self) -> dict[str, int]:
        """Number of videos in each sub-folder; under the empty name those in none."""
        names = [video.class_name or "" for video in self.videos]
        return {name: names.count(name) for name in sorted(set(names))}


def survey(folder: Path) -> Survey:
    """List the folder and decode up to ``MOST_VIDEOS`` videos. ``UserError`` if it has none that can be used."""
    found = _listed(folder)
    rejected = {video.name: video.rejected for video in found if video.rejected}
    videos = {video.name: video for video in found if not video.rejected}
    if not videos:
        raise UserError(f"{folder}: none of its {len(found)} videos can be used: {_reasons(rejected)}")
    chosen = shuffled(list(videos))[:MOST_VIDEOS]
    looks = []
    for name, each in zip(chosen, _look_at([Path(videos[name].path) for name in chosen]), strict=True):
        if each.rejected:
            rejected[name] = each.rejected
        else:
            looks.append(each)
    if not looks:
        raise UserError(
            f"{folder}: none of the {len(chosen)} videos that were decoded can be used: {_reasons(rejected)}"
        )
    ordered = tuple(videos[name] for name in sorted(videos))
    return Survey(folder=folder, videos=ordered, looks=tuple(looks), rejected=rejected, decoded=len(chosen))


def _listed(folder: Path) -> list[RawVideo]:
    common = CommonConfig(
        name="folder", path=str(folder), classes=False, only_classes="", max_rejected=1, decoder="pyav"
    )
    try:
        root = SourceFolder(common, "a folder of videos")
        if not root.video_files() and root.pictures():
            what = "holds pictures, not videos; for frames of videos set source.name: frames (docs/data.md)"
            raise root.error(what)
        return FolderConfig(labels="").list_videos(common)
    except UserError as error:  # about the argument, not about a key of params.yaml
        raise UserError(str(error).removeprefix("source.path=")) from None


def _look_at(paths: Sequence[Path]) -> list[VideoLook]:
    results: list[VideoLook] = []
    display = ProgressDisplay("init", len(paths))
    processes = min(available_cores(), len(paths))
    with closing(display), IsolatedPool(FUNCTION, processes=processes) as pool:
        for result in pool.map(paths, lambda _: SECONDS):
            results.append(VideoLook(rejected=result.reason) if isinstance(result, ItemLost) else result)
            display.advance(1)
    return results


def _reasons(rejected: dict[str, str]) -> str:
    return listed(f"{name} {reason}" for name, reason in sorted(rejected.items())[:3])
