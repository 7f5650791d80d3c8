"""Sky Time-lapse: folders of frames, split into train and test by its authors.

Layout under ``source.path``:
    sky_train/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
    sky_test/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
Each CLIP is a video here. Clips are successive windows without overlap.
"""

from pipelines.sources.layout import OfficialFrames


class SkyTimelapseConfig(OfficialFrames):
    """The section ``source.sky_timelapse``."""

    name = "sky_timelapse"
    folders = (("train", "sky_train"), ("test", "sky_test"))
    window_mode = "disjoint"
