"""A raw video as a source names it, before anything of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RawVideo:
    """A video still to be decoded: ``name`` is stable and unique in its source ('/' between folders), ``class_name`` its
    class or ``None``.

    ``path`` is a path or an s3:// address, ``kind`` what it is (transcode.py), ``window_mode`` how it becomes clips
    (digan/data/clips.py). ``split`` is ``train`` or ``val`` where the data set's own lists decide; ``None``: the stable
    hash of the name does. ``bytes`` and ``content_tag`` identify its content, where the source knows them. ``rejected`` is
    the reason why it is not used at all.
    """

    name: str
    path: Path | str
    class_name: str | None
    kind: Literal["video", "frames", "strip"] = "video"
    window_mode: Literal["overlapping", "disjoint", "phases"] = "overlapping"
    split: str | None = None
    bytes: int = -1
    content_tag: str = ""
    rejected: str = ""
