"""TaiChi-HD: folders of png frames, split into train and test by its authors.

Layout under ``source.path``:
    train/VIDEO/0000000.png ...
    test/VIDEO/0000000.png ...
(The name of a VIDEO folder often ends in .mp4.) With ``clips.frame_stride: 4``, a stretch of 4n frames gives four clips
of n frames, one for each phase; with 1, clips are successive windows without overlap.
"""

from pipelines.sources.layout import OfficialFrames


class TaichiHDConfig(OfficialFrames):
    """The section ``source.taichi_hd``."""

    name = "taichi_hd"
    folders = (("train", "train"), ("test", "test"))
    window_mode = "phases"
