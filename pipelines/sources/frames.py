"""Videos stored as pictures (png, jpg): any folder of them, Sky Time-lapse and TaiChi-HD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from digan.errors import UserError
from pipelines.sources.base import CommonConfig, OfficialSplit, RawSource, SourceFolder, check_classes, class_folder
from pipelines.video.raw_video import RawVideo

LAYOUTS = ("folders", "strips")


@dataclass(frozen=True, kw_only=True)
class FramesConfig(RawSource):
    """The section ``source.frames``: any folder of pictures, at any depth, in one of two layouts.

    ``folders``: a folder of pictures is a video. ``strips``: a long picture is a video, with square frames side by side or
    one below the other, as in MoCoGAN's data. The first level of sub-folders above the videos are their classes. Clips are
    successive windows without overlap.
    """

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


@dataclass(frozen=True, kw_only=True)
class OfficialFrames(OfficialSplit):
    """A data set of folders of frames without classes, split into a train and a test folder by its authors."""

    train_folder: ClassVar[str]
    test_folder: ClassVar[str]
    window_mode: ClassVar[Literal["disjoint", "phases"]]
    has_classes = False

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        root = SourceFolder(common, f"the folder that holds {self.train_folder} and {self.test_folder}")
        found = []
        for part, folder in (("train", self.train_folder), ("test", self.test_folder)):
            split = self.split_of(part)
            if not root.is_dir(folder):
                expected = f"{self.name} expects a folder of frames for each video there"
                raise root.error(f"holds no folder {folder}; {expected}")
            if not (names := [name for name in root.frame_folders(folder) if name != folder]):
                raise root.error(f"{folder} holds no folders of png or jpg frames; unpack it again")
            found += [root.video(name, kind="frames", window_mode=self.window_mode, split=split) for name in names]
        return found


class SkyTimelapseConfig(OfficialFrames):
    """The section ``source.sky_timelapse``. Each CLIP is a video here; clips are successive windows without overlap.

    sky_train/VIDEO/CLIP/CLIP_frames_00000001.jpg ..., sky_test/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
    """

    name = "sky_timelapse"
    train_folder, test_folder = "sky_train", "sky_test"
    window_mode = "disjoint"


class TaichiHDConfig(OfficialFrames):
    """The section ``source.taichi_hd``. The name of a VIDEO folder often ends in .mp4.

    train/VIDEO/0000000.png ..., test/VIDEO/0000000.png ...
    With ``clips.frame_stride: 4``, 4n successive frames give four clips of n frames, one for each phase; with 1, clips are
    successive windows without overlap.
    """

    name = "taichi_hd"
    train_folder, test_folder = "train", "test"
    window_mode = "phases"
