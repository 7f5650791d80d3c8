"""Any folder of videos stored as pictures (png, jpg), at any depth, in one of two layouts.

``folders``: a folder of pictures is a video. ``strips``: a long picture is a video, with square frames side by side or
one below the other, as in MoCoGAN's data. Sub-folders above the videos are their classes (the first level). Clips are
successive windows without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from pipelines.media.raw import RawVideo
from pipelines.sources.config import CommonConfig, RawSource
from pipelines.sources.listing import check_classes, class_folder, frame_folders, picture_files, root_of
from pipelines.sources.place import known_by

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
                **known_by(root / path),
                category=class_folder(path),
                kind="strip" if strips else "frames",
                cut="apart",
            )
            for path in paths
        ]
        return check_classes(common, found)
