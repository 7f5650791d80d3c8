"""index.json: what a set of shards holds, with the SHA-256 of each. It is written last, so a set with an index is complete.

The shards are in the folder of the index, or at the address that it names.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.storage import file_io

INDEX = "index.json"
FORMAT = 2
READABLE = (1, 2)  # 1 had no statistics and no address
AGAIN = "make the shards again"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One tar: ``path`` relative to the set's address; ``windows`` is the number of clips in each sample, in order."""

    path: str
    bytes: int
    sha256: str
    videos: int
    windows: tuple[int, ...]

    @cached_property
    def clips(self) -> int:
        return sum(self.windows)


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """The content of index.json. ``address`` of the shards is a folder or s3://; ``classes`` is empty for unlabeled sets;
    ``source`` and ``settings`` (clips, shards) are the sections of params.yaml it was made with; earlier versions recorded
    no ``settings``. ``statistics`` describes the stored frames; ``digest`` is the SHA-256 over the shards' SHA-256.
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
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def shards(self) -> list[Shard]:
        return [shard for listed in self.splits.values() for shard in listed]


def digest_of(splits: dict[str, tuple[Shard, ...]]) -> str:
    """The data digest, which changes with any byte of any shard."""
    text = "\n".join(f"{split}/{shard.sha256}" for split in sorted(splits) for shard in splits[split])
    return hashlib.sha256(text.encode()).hexdigest()


def index_to_json(index: ShardIndex, *, beside: bool = True) -> str:
    """The text of index.json; equal indexes give equal text. ``beside``: it is stored in the folder of its shards."""
    content = {"format": FORMAT, **asdict(index), **({"address": ""} if beside else {})}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def shard_from_json(content: dict[str, Any]) -> Shard:
    return Shard(**{**content, "windows": tuple(content["windows"])})


def read_index(folder: Path | str) -> ShardIndex:
    """Read and check the index.json in a folder or at an s3:// address; ``UserError`` if it is missing or invalid."""
    folder = str(folder) if file_io.is_remote(folder) else str(Path(folder).absolute())
    path = file_io.join(folder, INDEX)
    try:
        content = json.loads(file_io.read_bytes(path))
        if content.pop("format") not in READABLE:
            raise UserError(f"{path}: written by another version; {AGAIN}, with python -m pipelines.ingest")
        splits = {split: tuple(map(shard_from_json, listed)) for split, listed in content.pop("splits").items()}
        address = content.pop("address", "") or folder
        source = content.pop("origin" if "origin" in content else "source")  # origin: the former name
        known = {"statistics": {}, **content, "classes": tuple(content["classes"])}
        index = ShardIndex(address=address, splits=splits, source=source, **known)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; make the shards first, with python -m pipelines.ingest") from None
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not an index of shards ({error}); {AGAIN}") from error
    if address != folder and not file_io.is_remote(address):
        raise UserError(f"{path}: address {address!r} is rejected; shards must be beside the index or on s3://")
    for shard in index.shards:
        if not re.fullmatch(r"[a-z]+/\d{6,}\.tar", shard.path):
            raise UserError(f"{path}: shard path {shard.path!r} is rejected; expected paths like train/000000.tar")
        if not shard.windows or min(shard.windows) < 1:
            raise UserError(f"{path}: {shard.path} has a sample without clips; {AGAIN}")
    return index
