"""Sky Time-lapse: folders of frames, split into train and test by its makers.

Layout under ``source.path``:
    sky_train/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
    sky_test/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
Each CLIP is a video here. Clips are successive windows without overlap.
"""

from __future__ import annotations

from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.listing import official_frames


def videos(config: SourceConfig) -> list[RawVideo]:
    """Every folder of frames in both parts; ``source.split`` says which part is trained on, the other is val."""
    return official_frames(config, {"train": "sky_train", "test": "sky_test"}, cut="apart")
