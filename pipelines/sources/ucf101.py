"""UCF-101: class folders of avi files, and the official lists of what is trained on and what is tested on.

Layout under ``source.path``, as the two archives unpack:
    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...
    ucfTrainTestlist/classInd.txt, trainlist01.txt ... testlist03.txt
The paper's two protocols: ``source.split: train`` (trained on trainlist01, testlist01 is val), ``both`` (train + test:
trained on all, nothing is held out). Every window of a video is a clip.
"""

from __future__ import annotations

import re

from digan.errors import UserError
from pipelines.sources import RawVideo, SourceConfig
from pipelines.sources.listing import check_classes, list_of, part_of, root_of, split_for, video_files
from pipelines.sources.place import Place, known_by

LISTS = "ucfTrainTestlist"
SHOWN = 3


def videos(config: SourceConfig) -> list[RawVideo]:
    """What the two lists of number ``source.split_list`` name; every one of them must be there.

    Files of the folder that stand in neither list are left out, and their number is printed.
    """
    root = root_of(config, f"the folder that holds UCF-101 and {LISTS}")
    folder = part_of(config, root, "UCF-101", "the class folders")
    known = _classes(list_of(config, root, (f"{LISTS}/classInd.txt",), "the official lists"))
    listed: dict[str, str] = {}
    for part in ("train", "test"):
        path = list_of(config, root, (f"{LISTS}/{part}list{config.split_list:02d}.txt",), "the official lists")
        for line, name in _names(path):
            if listed.setdefault(name, part) != part:
                raise UserError(f"{path}, line {line}: {name} stands in the training list too; unpack the lists again")
            if name.split("/")[0] not in known:
                raise UserError(f"{path}, line {line}: {name.split('/')[0]} is no class of classInd.txt")
    there = {
        path.as_posix() for path in video_files(config, folder) if re.fullmatch(r"[^/]+/[^/]+\.avi", path.as_posix())
    }
    if missing := sorted(set(listed) - there):
        names = ", ".join(missing[:SHOWN])
        raise UserError(
            f"source.path={config.path}: {len(missing)} of {len(listed)} listed videos are not in UCF-101, such as"
            f" {names}; unpack the whole archive (a part of it: source.name=folder with source.labels)"
        )
    if strays := there - set(listed):
        print(f"ucf101: {len(strays)} videos stand in no list and are left out, such as {min(strays)}", flush=True)
    found = [
        RawVideo(name=name, **known_by(folder / name), category=name.split("/")[0], split=split_for(config, part))
        for name, part in listed.items()
    ]
    return check_classes(config, found)


def _names(path: Place) -> list[tuple[int, str]]:
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


def _classes(path: Place) -> set[str]:
    """The names in lines such as ``3 Archery``."""
    return {line.split()[-1] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
