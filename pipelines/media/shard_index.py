"""index.json: what a folder of shards holds, with a digest of every byte; written last, so where it lies the set is
whole.
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

INDEX = "index.json"
FORMAT = 1


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
    """What index.json says. ``classes`` is empty where no classes are to be learned; ``digest`` is SHA-256 over the
    shards' SHA-256.
    """

    folder: Path
    resolution: int
    frames: int
    frame_stride: int
    encoding: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[Shard, ...]]
    origin: dict[str, Any]
    software: dict[str, str]
    counts: dict[str, dict[str, int]]
    digest: str


def digest_of(splits: dict[str, tuple[Shard, ...]]) -> str:
    """The data digest: changes with any byte of any shard."""
    text = "\n".join(f"{split}/{shard.sha256}" for split in sorted(splits) for shard in splits[split])
    return hashlib.sha256(text.encode()).hexdigest()


def index_to_json(index: ShardIndex) -> str:
    """The text of index.json; equal indices give equal text."""
    content = {"format": FORMAT, **asdict(index)}
    del content["folder"]
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path | str) -> ShardIndex:
    """Read and check index.json; ``UserError`` where there is none or it cannot be right."""
    folder = Path(folder).absolute()
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"{path}: no such file; make the shards first, with python -m pipelines.ingest")
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise UserError(
                f"{path}: written by another version; make the shards again, with python -m pipelines.ingest"
            )
        splits = {
            split: tuple(Shard(**{**shard, "windows": tuple(shard["windows"])}) for shard in listed)
            for split, listed in content.pop("splits").items()
        }
        index = ShardIndex(folder=folder, splits=splits, classes=tuple(content.pop("classes")), **content)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not an index of shards ({error}); make the shards again") from error
    for shard in (shard for listed in splits.values() for shard in listed):
        if not re.fullmatch(r"[a-z]+/\d{6,}\.tar", shard.path):
            raise UserError(
                f"{path}: shard address {shard.path!r} is refused; only files such as train/000000.tar are read"
            )
    return index
