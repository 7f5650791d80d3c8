"""Sky Time-lapse and TaiChi-HD: folders of frames, split into train and test by their authors. No classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pipelines.sources.config import CommonConfig, OfficialSplit
from pipelines.sources.source_folder import SourceFolder
from pipelines.video.raw_video import RawVideo


@dataclass(frozen=True, kw_only=True)
class OfficialFrames(OfficialSplit):
    """A data set of folders of frames; ``folders`` maps the parts to the folders that hold them."""

    folders: ClassVar[tuple[tuple[str, str], ...]]
    window_mode: ClassVar[Literal["disjoint", "phases"]]
    has_classes = False

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List every folder of frames in both parts."""
        root = SourceFolder(common, f"the folder that holds {' and '.join(name for _, name in self.folders)}")
        fields: dict[str, Any] = {"class_name": None, "kind": "frames", "window_mode": self.window_mode}
        found = []
        for part, name in self.folders:
            if not root.is_dir(name):
                raise root.error(f"holds no folder {name}; {self.name} expects a folder of frames for each video there")
            videos = [folder for folder in root.frame_folders(name) if folder != name]
            if not videos:
                raise root.error(f"{name} holds no folders of png or jpg frames; unpack it again")
            found += [root.video(folder, **fields, split=self.split_of(part)) for folder in videos]
        return found


class SkyTimelapseConfig(OfficialFrames):
    """The section ``source.sky_timelapse``. Each CLIP is a video here; clips are successive windows without overlap.

    sky_train/VIDEO/CLIP/CLIP_frames_00000001.jpg ..., sky_test/VIDEO/CLIP/CLIP_frames_00000001.jpg ...
    """

    name = "sky_timelapse"
    folders = (("train", "sky_train"), ("test", "sky_test"))
    window_mode = "disjoint"


class TaichiHDConfig(OfficialFrames):
    """The section ``source.taichi_hd``. The name of a VIDEO folder often ends in .mp4.

    train/VIDEO/0000000.png ..., test/VIDEO/0000000.png ...
    With ``clips.frame_stride: 4``, 4n successive frames give four clips of n frames, one for each phase; with 1, clips are
    successive windows without overlap.
    """

    name = "taichi_hd"
    folders = (("train", "train"), ("test", "test"))
    window_mode = "phases"
