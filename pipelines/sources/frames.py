"""Any folder of videos stored as pictures (png, jpg), at any depth, in one of two layouts.

``folders``: a folder of pictures is a video. ``strips``: a long picture is a video, with square frames side by side or
one below the other, as in MoCoGAN's data. The first level of sub-folders above the videos are their classes. Clips are
successive windows without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from pipelines.sources.config import CommonConfig, RawSource, check_classes, class_folder
from pipelines.sources.source_folder import SourceFolder
from pipelines.video.raw_video import RawVideo

LAYOUTS = ("folders", "strips")


@dataclass(frozen=True, kw_only=True)
class FramesConfig(RawSource):
    """The section ``source.frames``."""

    name = "frames"
    layout: str

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UserError(f"source.frames.layout={self.layout}: must be one of {', '.join(LAYOUTS)}")

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List every folder of pictures under ``source.path``, or every picture, except hidden ones."""
        strips = self.layout == "strips"
        root = SourceFolder(common, "a folder of strips" if strips else "a folder of folders of pictures")
        names = root.pictures() if strips else root.frame_folders()
        if not names:
            raise root.error("holds no png or jpg pictures; give the folder above them")
        if "." in names:
            raise root.error(
                "the folder itself holds pictures; give the folder above it, where each folder is a video, or set"
                " source.frames.layout to strips if each picture is one"
            )
        kind = "strip" if strips else "frames"
        videos = [root.video(name, class_name=class_folder(name), kind=kind, window_mode="disjoint") for name in names]
        return check_classes(common, videos)
