"""Sky Time-lapse: folders of frames, split into train and test by its authors.

Layout under ``source.path``:
    sky_train/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
    sky_test/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
Each CLIP is a video here. Clips are successive windows without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.media.raw import RawVideo
from pipelines.sources.config import CommonConfig, check_part
from pipelines.sources.listing import official_frames


@dataclass(frozen=True, kw_only=True)
class SkyTimelapseConfig:
    """The section ``source.sky_timelapse``."""

    split: str

    def __post_init__(self) -> None:
        check_part("sky_timelapse", self.split)


def videos(common: CommonConfig, config: SkyTimelapseConfig) -> list[RawVideo]:
    """Every folder of frames in both parts; the part named by ``split`` is train, the other val."""
    return official_frames(common, config.split, {"train": "sky_train", "test": "sky_test"}, cut="apart")
