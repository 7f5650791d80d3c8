"""Any folder of videos stored as pictures (png, jpg), at any depth, in one of two layouts.

``folders``: a folder of pictures is a video. ``strips``: a long picture is a video, with square frames side by side or
one below the other, as in MoCoGAN's data. Sub-folders above the videos are their classes (the first level). Clips are
successive windows without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from pipelines.sources.config import CommonConfig, RawSource
from pipelines.sources.layout import check_classes, class_folder, frame_folders, picture_files, root_of
from pipelines.sources.source_path import content_fields
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
        """Every folder of pictures under ``source.path``, or every picture; hidden ones are passed over."""
        strips = self.layout == "strips"
        root = root_of(common, "a folder of strips" if strips else "a folder of folders of pictures")
        paths = picture_files(common, root) if strips else frame_folders(common, root)
        if not paths:
            raise UserError(f"source.path={common.path}: holds no png or jpg pictures; give the folder above them")
        if not strips and any(not path.parts for path in paths):
            raise UserError(
                f"source.path={common.path}: the folder itself holds pictures; give the folder above it, where each folder"
                " is a video, or set source.frames.layout to strips if each picture is one"
            )
        found = [
            RawVideo(
                name=path.as_posix(),
                **content_fields(root / path),
                class_name=class_folder(path),
                kind="strip" if strips else "frames",
                window_mode="disjoint",
            )
            for path in paths
        ]
        return check_classes(common, found)
