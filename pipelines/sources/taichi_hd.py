"""TaiChi-HD: folders of png frames, split into train and test by its authors.

Layout under ``source.path``:
    train/VIDEO/0000000.png ...
    test/VIDEO/0000000.png ...
(The name of a VIDEO folder often ends in .mp4.) With ``clips.frame_stride: 4``, a stretch of 4n frames gives four clips
of n frames, one for each phase; with 1, clips are successive windows without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.media.raw import RawVideo
from pipelines.sources.config import CommonConfig, check_part
from pipelines.sources.listing import official_frames


@dataclass(frozen=True, kw_only=True)
class TaichiHDConfig:
    """The section ``source.taichi_hd``."""

    split: str

    def __post_init__(self) -> None:
        check_part("taichi_hd", self.split)


def videos(common: CommonConfig, config: TaichiHDConfig) -> list[RawVideo]:
    """Every folder of frames in both parts; the part named by ``split`` is train, the other val."""
    return official_frames(common, config.split, {"train": "train", "test": "test"}, cut="phases")
