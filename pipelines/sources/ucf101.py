"""UCF-101: class folders of avi files, and the official lists of what is trained on and what is tested on.

Layout under ``source.path``, as the two archives unpack:
    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...
    ucfTrainTestlist/classInd.txt, trainlist01.txt ... testlist03.txt
The paper's two protocols: ``split: train`` (trained on trainlist01, testlist01 is val) and ``both`` (trained on all
videos, nothing is held out). Every window of a video is a clip.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from digan.errors import UserError
from pipelines.sources.config import CommonConfig, OfficialSplit
from pipelines.sources.layout import check_classes, list_of, part_of, root_of, video_files
from pipelines.sources.source_path import SourcePath, content_fields
from pipelines.video.raw_video import RawVideo

log = logging.getLogger(__name__)

LISTS = "ucfTrainTestlist"
SHOWN = 3


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
        """The videos that the two lists name; every one of them must exist.

        Files in neither list are left out, with a warning.
        """
        root = root_of(common, f"the folder that holds UCF-101 and {LISTS}")
        folder = part_of(common, root, "UCF-101", "the class folders")
        known = _classes(list_of(common, root, (f"{LISTS}/classInd.txt",), "the official lists"))
        listed: dict[str, str] = {}
        for part in ("train", "test"):
            path = list_of(common, root, (f"{LISTS}/{part}list{self.split_list:02d}.txt",), "the official lists")
            for line, name in _names(path):
                if listed.setdefault(name, part) != part:
                    raise UserError(f"{path}, line {line}: {name} is in the training list too; unpack the lists again")
                if name.split("/")[0] not in known:
                    raise UserError(f"{path}, line {line}: {name.split('/')[0]} is no class of classInd.txt")
        there = {
            path.as_posix()
            for path in video_files(common, folder)
            if re.fullmatch(r"[^/]+/[^/]+\.avi", path.as_posix())
        }
        if missing := sorted(set(listed) - there):
            names = ", ".join(missing[:SHOWN])
            raise UserError(
                f"source.path={common.path}: {len(missing)} of {len(listed)} listed videos are not in UCF-101, such as"
                f" {names}; unpack the whole archive (a part of it: source.name=folder with source.folder.labels)"
            )
        if strays := there - set(listed):
            log.warning("%d videos are in no list and are left out, such as %s", len(strays), min(strays))
        found = [
            RawVideo(
                name=name, **content_fields(folder / name), class_name=name.split("/")[0], split=self.split_of(part)
            )
            for name, part in listed.items()
        ]
        return check_classes(common, found)


def _names(path: SourcePath) -> list[tuple[int, str]]:
    """Lines such as ``Archery/v_Archery_g01_c01.avi`` with a class number behind it in training lists."""
    found = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        match = re.fullmatch(r"\s*([^\s/]+/[^\s/]+\.avi)(?:\s+\d+)?\s*", text)
        if match is None:
            raise UserError(f"{path}, line {line}: {text.strip()[:60]}: must be CLASS/FILE.avi; unpack the lists again")
        found.append((line, match[1]))
    return found


def _classes(path: SourcePath) -> set[str]:
    """The names in lines such as ``3 Archery``."""
    return {line.split()[-1] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
