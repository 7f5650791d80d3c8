"""TaiChi-HD: folders of png frames, split into train and test by its makers.

Layout under ``source.path``:
    train/VIDEO/0000000.png ...
    test/VIDEO/0000000.png ...
(VIDEO often ends in .mp4, and is a folder all the same.) With ``clips.frame_stride: 4`` a stretch of 4n frames gives
four clips of n frames, one for each of its phases; with 1 it is successive windows without overlap.
"""

from __future__ import annotations

from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.listing import official_frames


def videos(config: SourceConfig) -> list[RawVideo]:
    """Every folder of frames in both parts; ``source.split`` says which part is trained on, the other is val."""
    return official_frames(config, {"train": "train", "test": "test"}, cut="phases")
