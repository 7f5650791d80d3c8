"""Any folder of videos that are stored as pictures (png, jpg), at any depth, in one of two layouts.

``source.layout: folders``: a folder of pictures is a video. ``strips``: a long picture is a video, its square frames
side by side or one below the other, as in MoCoGAN's data. The first level of sub-folders are the classes, where the
videos lie below it. Clips are successive windows without overlap.
"""

from __future__ import annotations

from digan.errors import UserError
from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.listing import check_classes, frame_folders, picture_files, root_of
from pipelines.sources.place import known_by


def videos(config: SourceConfig) -> list[RawVideo]:
    """Every folder of pictures under ``source.path``, or every picture; hidden ones are passed over."""
    strips = config.layout == "strips"
    root = root_of(config, "a folder of strips" if strips else "a folder of folders of pictures")
    places = picture_files(config, root) if strips else frame_folders(config, root)
    if not places:
        raise UserError(f"source.path={config.path}: holds no png or jpg pictures; give the folder above them")
    if not strips and any(not place.parts for place in places):
        raise UserError(
            f"source.path={config.path}: pictures lie in the folder itself; give the folder above it, where each folder"
            " is a video, or set source.layout to strips where each picture is one"
        )
    found = [
        RawVideo(
            name=place.as_posix(),
            **known_by(root / place),
            category=place.parts[0] if len(place.parts) > 1 else None,
            kind="strip" if strips else "frames",
            cut="apart",
        )
        for place in places
    ]
    return check_classes(config, found)
