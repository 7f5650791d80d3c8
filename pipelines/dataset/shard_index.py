"""index.json: what a set of shards holds, with every shard's SHA-256; written last, so where it exists the set is whole.

The shards are beside the index, or at the address that it names.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.storage import file_io

INDEX = "index.json"
FORMAT = 2
READ = (1, 2)  # 1 knew no statistics, and its shards lay beside it


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One tar: ``path`` relative to the index; ``windows`` has, for each sample in its order, the number of clips
    that begin in it.
    """

    path: str
    bytes: int
    sha256: str
    videos: int
    windows: tuple[int, ...]

    @cached_property
    def clips(self) -> int:
        """All windows of the shard."""
        return sum(self.windows)


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What index.json says. ``address`` is where the shards lie, a folder or s3://; ``classes`` is empty where no
    classes are to be learned; ``statistics`` is what all stored frames together look like; ``digest`` is SHA-256 over
    the shards' SHA-256.
    """

    address: str
    resolution: int
    frames: int
    frame_stride: int
    encoding: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[Shard, ...]]
    source: dict[str, Any]
    software: dict[str, str]
    counts: dict[str, dict[str, int]]
    statistics: dict[str, Any]
    digest: str


def digest_of(splits: dict[str, tuple[Shard, ...]]) -> str:
    """The data digest: changes with any byte of any shard."""
    text = "\n".join(f"{split}/{shard.sha256}" for split in sorted(splits) for shard in splits[split])
    return hashlib.sha256(text.encode()).hexdigest()


def index_to_json(index: ShardIndex, *, beside: bool = True) -> str:
    """The text of index.json; equal indices give equal text. ``beside``: for an index that lies with its shards."""
    content = {"format": FORMAT, **asdict(index)}
    if beside:
        content["address"] = ""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def read_index(place: Path | str) -> ShardIndex:
    """Read and check the index.json at a folder or s3:// address; ``UserError`` where there is none or it cannot be
    right.
    """
    place = str(place) if file_io.is_remote(place) else str(Path(place).absolute())
    path = file_io.join(place, INDEX)
    try:
        text = file_io.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; make the shards first, with python -m pipelines.ingest") from None
    try:
        content = json.loads(text)
        if content.pop("format") not in READ:
            raise UserError(
                f"{path}: written by another version; make the shards again, with python -m pipelines.ingest"
            )
        splits = {
            split: tuple(Shard(**{**shard, "windows": tuple(shard["windows"])}) for shard in listed)
            for split, listed in content.pop("splits").items()
        }
        address = content.pop("address", "") or place
        content.setdefault("statistics", {})
        if "origin" in content:  # the former name
            content["source"] = content.pop("origin")
        index = ShardIndex(address=address, splits=splits, classes=tuple(content.pop("classes")), **content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not an index of shards ({error}); make the shards again") from error
    if address != place and not file_io.is_remote(address):
        raise UserError(f"{path}: address {address!r} is refused; shards lie beside the index or on s3://")
    for shard in (shard for listed in splits.values() for shard in listed):
        if not re.fullmatch(r"[a-z]+/\d{6,}\.tar", shard.path):
            raise UserError(
                f"{path}: shard address {shard.path!r} is refused; only files such as train/000000.tar are read"
            )
        if not shard.windows or min(shard.windows) < 1:
            raise UserError(f"{path}: {shard.path} has a sample without clips; make the shards again")
    return index
