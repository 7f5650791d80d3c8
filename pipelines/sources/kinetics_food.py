"""Kinetics-food: the food classes out of a Kinetics-600 tree and its CSV lists.

Layout under ``source.path``: ``train.csv`` and ``val.csv`` (or validate.csv; also in annotations/), with the columns
label,youtube_id,time_start,time_end,split, and anywhere below it files such as ``ID_000010_000020.mp4``: flat, by split
or by class. The validation list is the data set's test part. Clips are successive windows without overlap.

The paper takes seventeen food classes. WHICH SEVENTEEN IS NOT KNOWN FOR CERTAIN HERE: ``FOOD`` is this project's own
choice of seventeen names out of Kinetics-600. To reproduce the paper's figures, put its list into
``source.only_classes``, joined by commas.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from digan.errors import UserError
from pipelines.sources.config import CommonConfig, OfficialSplit
from pipelines.sources.layout import list_of, no_class, read_csv, root_of, video_files
from pipelines.sources.source_path import SourcePath, content_fields
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
        """The listed videos of the wanted classes that exist, with a warning if some do not (YouTube loses some).

        A YouTube video in both lists is kept in the validation list only.
        """
        root = root_of(common, "a Kinetics-600 folder")
        wanted = common.wanted_classes() or FOOD
        listed: dict[str, tuple[str, str, str]] = {}  # stem: part, class, YouTube's id
        labels: set[str] = set()
        for part, names in LISTS.items():
            path = list_of(common, root, names, "the lists of Kinetics-600")
            for line, row in read_csv(path, COLUMNS):
                labels.add(row["label"])
                if row["label"] in wanted:
                    listed[_stem(path, line, row)] = part, row["label"], row["youtube_id"]
        for name in wanted:
            if name not in labels:
                raise no_class("source.only_classes", name, labels, f"the lists in {common.path}")
        held = {identity for part, _, identity in listed.values() if part == "test"}
        files = _files(common, root, set(listed))
        chosen = {stem: row for stem, row in listed.items() if row[0] == "test" or row[2] not in held}
        there = [stem for stem in chosen if stem in files]
        if not there:
            raise UserError(
                f"source.path={common.path}: none of {len(chosen)} listed videos is there, such as {min(chosen)}.mp4;"
                " put them anywhere below it"
            )
        if len(there) < len(listed):
            twice, lost = len(listed) - len(chosen), len(chosen) - len(there)
            log.warning("%d of %d listed videos are missing; %d are in both lists", lost, len(listed), twice)
        return [
            RawVideo(
                name=f"{chosen[stem][1]}/{stem}{files[stem].suffix}",
                **content_fields(root / files[stem]),
                class_name=chosen[stem][1],
                window_mode="disjoint",
                split=self.split_of(chosen[stem][0]),
            )
            for stem in there
        ]


def _stem(path: SourcePath, line: int, row: dict[str, str]) -> str:
    """``ID_000010_000020``: the id and the seconds of start and end with six digits."""
    try:
        start, end = (round(float(row[key])) for key in ("time_start", "time_end"))
    except ValueError:
        times = f"{row['time_start']},{row['time_end']}"
        raise UserError(f"{path}, line {line}: {times}: time_start,time_end must be numbers of seconds") from None
    if not row["youtube_id"]:
        raise UserError(f"{path}, line {line}: youtube_id is empty; fetch the list again")
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _files(common: CommonConfig, root: SourcePath, wanted: set[str]) -> dict[str, Path]:
    """The files of the wanted videos, by stem."""
    found: dict[str, Path] = {}
    for file in video_files(common, root):
        if file.stem in wanted and (other := found.setdefault(file.stem, file)) != file:
            raise UserError(f"source.path={common.path}: {other} and {file} are one video; keep one")
    return found
