"""Kinetics-food: the food classes of a Kinetics-600 tree and its CSV lists.

Layout under ``source.path``: ``train.csv`` and ``val.csv`` (or validate.csv; also in annotations/), with the columns
label,youtube_id,time_start,time_end,split, and anywhere below it files such as ``ID_000010_000020.mp4``: flat, by split
or by class. The validation list is the data set's test part. Clips are successive windows without overlap.

The paper uses seventeen food classes, which are not known for certain here: ``FOOD`` is this project's own choice from
Kinetics-600. To reproduce the paper's values, set ``source.only_classes`` to its list, joined by commas.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from pathlib import PurePosixPath

from digan.errors import UserError
from pipelines.sources.base import CommonConfig, OfficialSplit, SourceFolder, check_known, read_csv, split_names
from pipelines.video.raw_video import RawVideo

log = logging.getLogger(__name__)

FOOD = (
    "baking cookies", "barbequing", "breading or breadcrumbing", "cooking egg", "cooking on campfire",
    "cooking sausages (not on barbeque)", "cooking scallops", "flipping pancake", "frying vegetables", "making a cake",
    "making a sandwich", "making cheese", "making pizza", "making sushi", "preparing salad", "roasting pig",
    "scrambling eggs",
)  # fmt: skip
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
LISTS = {"train": ("train.csv", "annotations/train.csv"), "test": ("val.csv", "validate.csv", "annotations/val.csv")}


@dataclass(frozen=True, kw_only=True)
class KineticsFoodConfig(OfficialSplit):
    """The section ``source.kinetics_food``."""

    name = "kinetics_food"

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """List the existing videos of the wanted classes; what is in both lists is in the validation list only.
        Log a warning if some do not exist (YouTube removes videos).
        """
        root = SourceFolder(common, "a Kinetics-600 folder")
        wanted = split_names(common.only_classes) or FOOD
        listed: dict[str, tuple[str, str, str]] = {}  # stem: part, class, YouTube's id
        labels: set[str] = set()
        for part, names in LISTS.items():
            address = root.first_file(names, "the lists of Kinetics-600")
            for line, row in read_csv(address, COLUMNS):
                labels.add(row["label"])
                if row["label"] in wanted:
                    listed[_stem(f"{address}, line {line}", row)] = part, row["label"], row["youtube_id"]
        check_known("source.only_classes", wanted, labels, f"the lists in {common.path}")
        tested = {identity for part, _, identity in listed.values() if part == "test"}
        chosen = {stem: row for stem, row in listed.items() if row[0] == "test" or row[2] not in tested}
        files = _files(root, listed)
        videos = []
        for stem, (part, group, _) in ((stem, row) for stem, row in chosen.items() if stem in files):
            name, split = f"{group}/{stem}{PurePosixPath(files[stem]).suffix}", self.split_of(part)
            videos.append(root.video(files[stem], name=name, class_name=group, window_mode="disjoint", split=split))
        if not videos:
            what = f"none of {len(chosen)} listed videos exists, such as {min(chosen)}.mp4"
            raise root.error(f"{what}; put them anywhere below it")
        if len(videos) < len(listed):
            in_both, missing = len(listed) - len(chosen), len(chosen) - len(videos)
            log.warning("%d of %d listed videos are missing; %d are in both lists", missing, len(listed), in_both)
        return videos


def _stem(location: str, row: dict[str, str]) -> str:
    """``ID_000010_000020``: the id, and start and end in seconds with six digits."""
    try:
        start, end = (round(float(row[key])) for key in ("time_start", "time_end"))
    except ValueError:
        times = f"{row['time_start']},{row['time_end']}"
        raise UserError(f"{location}: {times}: time_start,time_end must be numbers of seconds") from None
    if not row["youtube_id"]:
        raise UserError(f"{location}: youtube_id is empty; download the list again")
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _files(root: SourceFolder, stems: Container[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in root.video_files():
        stem = PurePosixPath(file).stem
        if stem in stems and (other := found.setdefault(stem, file)) != file:
            raise root.error(f"{other} and {file} are one video; keep one")
    return found
