"""UCF-101: class folders of avi files, and the official train and test lists.

Layout under ``source.path``, as the two archives unpack:
    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...
    ucfTrainTestlist/classInd.txt, trainlist01.txt ... testlist03.txt
The paper's two protocols are ``split: train`` (train on trainlist01, validate on testlist01) and ``both`` (train on all
videos). Every window of a video is a clip.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from digan.errors import UserError
from pipelines.sources.base import CommonConfig, OfficialSplit, SourceFolder, check_classes, class_folder
from pipelines.storage import file_io
from pipelines.video.raw_video import RawVideo

log = logging.getLogger(__name__)

LISTS = "ucfTrainTestlist"
VIDEOS = "UCF-101"
LISTED = re.compile(r"\s*(([^\s/]+)/[^\s/]+\.avi)(?:\s+\d+)?\s*")  # training lists have a class number
SHOWN = 3  # missing videos that an error names


@dataclass(frozen=True, kw_only=True)
class Ucf101Config(OfficialSplit):
    """The section ``source.ucf101``; ``split_list`` is the number of the official lists."""

    name = "ucf101"
    split_list: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.split_list <= 3:
            raise UserError(f"source.ucf101.split_list={self.split_list}: must be 1, 2 or 3; try 1")

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List the videos in the two lists, each of which must exist; log a warning about files in neither."""
        root = SourceFolder(common, f"the folder that holds {VIDEOS} and {LISTS}")
        if not root.is_dir(VIDEOS):
            raise root.error(f"holds no folder {VIDEOS}; ucf101 expects the class folders there")
        classes = {line.split()[-1] for _, line in _lines(root, "classInd.txt")}
        listed: dict[str, str] = {}
        for part in ("train", "test"):
            for location, text in _lines(root, f"{part}list{self.split_list:02d}.txt"):
                match = LISTED.fullmatch(text)
                if match is None:
                    raise UserError(f"{location}: {text.strip()[:60]}: must be CLASS/FILE.avi; unpack the lists again")
                if listed.setdefault(match[1], part) != part:
                    raise UserError(f"{location}: {match[1]} is in the training list too; unpack the lists again")
                if match[2] not in classes:
                    raise UserError(f"{location}: {match[2]} is no class of classInd.txt")
        names = (file.removeprefix(f"{VIDEOS}/") for file in root.video_files(VIDEOS))
        existing = {name for name in names if re.fullmatch(r"[^/]+/[^/]+\.avi", name)}
        if missing := sorted(listed.keys() - existing):
            what = f"{len(missing)} of {len(listed)} listed videos are not in {VIDEOS}, such as {', '.join(missing[:SHOWN])}"
            part_of_it = "a part of it: source.name=folder with source.folder.labels"
            raise root.error(f"{what}; unpack the whole archive ({part_of_it})")
        if extra := existing - listed.keys():
            log.warning("%d videos are in no list and are left out, such as %s", len(extra), min(extra))
        videos = [
            root.video(f"{VIDEOS}/{name}", name=name, class_name=class_folder(name), split=self.split_of(part))
            for name, part in listed.items()
        ]
        return check_classes(common, videos)


def _lines(root: SourceFolder, name: str) -> list[tuple[str, str]]:
    """The lines of an official list that are not blank, each with its location for errors."""
    address = root.first_file((f"{LISTS}/{name}",), "the official lists")
    lines = enumerate(file_io.read_bytes(address).decode().splitlines(), start=1)
    return [(f"{address}, line {number}", line) for number, line in lines if line.strip()]
