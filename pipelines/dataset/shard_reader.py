"""Parse a shard's bytes into samples; a member that no shard of this project has is an error that names it.

Shards are standard tars that any WebDataset reader accepts. The parser is our own because exact resume and decoding of
only two frames per clip need the position of every picture, and because webdataset takes twice as long without a checksum
as this does with one (measured by ``python -m benchmarks.reading --parse``). Nothing is unpacked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

BLOCK = 512
MEMBER = re.compile(rb"([A-Za-z0-9_-]+)\.(?:(\d{4,9})\.(?:png|jpg|webp)|(json))")
TYPES = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
    b"L": "a GNU long name", b"K": "a GNU long link", b"x": "a pax header", b"g": "a global pax header",
    b"S": "a sparse file",
}  # fmt: skip


class InvalidShardError(ValueError):
    """Why bytes are not a shard of this project; the text names the member."""


@dataclass(frozen=True)
class ShardSample:
    """A stored segment: the spans of its encoded pictures and of its JSON in the shard's bytes."""

    data: bytes
    spans: tuple[tuple[int, int], ...]
    json_span: tuple[int, int]

    def picture(self, frame: int) -> bytes:
        """The encoded picture of a frame."""
        return self.data[slice(*self.spans[frame])]

    @property
    def meta(self) -> dict[str, Any]:
        """The sample's JSON."""
        found = json.loads(self.data[slice(*self.json_span)])
        if not isinstance(found, dict):
            raise InvalidShardError("a sample's JSON is not an object")
        return found


class _Member(NamedTuple):
    """A member of a tar: its name, its sample's key, its frame's number (``None``: the JSON) and its span in the bytes."""

    name: bytes
    key: bytes
    frame: int | None
    span: tuple[int, int]


def samples_of(data: bytes) -> tuple[ShardSample, ...]:
    """The samples of a tar, in order. ``InvalidShardError`` if the tar is cut off or a member is not a plain file, has an
    unexpected name or is repeated.
    """
    found: dict[bytes, ShardSample] = {}
    for key, members in groupby(_members(data), key=lambda member: member.key):
        found[key] = _sample(data, list(members), known=key in found)
    return tuple(found.values())


def _sample(data: bytes, members: list[_Member], *, known: bool) -> ShardSample:
    if known:
        raise InvalidShardError(f"{_quoted(members[0].name)}: its sample occurs twice")
    spans: list[tuple[int, int]] = []
    json_spans: list[tuple[int, int]] = []
    for name, _, frame, span in members:
        if frame is None and json_spans:
            raise InvalidShardError(f"{_quoted(name)} occurs twice")
        if frame is not None and frame != len(spans):
            raise InvalidShardError(f"{_quoted(name)} occurs twice or out of order; frame {len(spans)} was expected")
        (json_spans if frame is None else spans).append(span)
    if not json_spans or not spans:
        key = _quoted(members[0].key, "sample")
        raise InvalidShardError(f"{key} has no {'pictures' if json_spans else 'JSON'}")
    return ShardSample(data, tuple(spans), json_spans[0])


def _members(data: bytes) -> Iterator[_Member]:
    start = 0
    while True:
        header = data[start : start + BLOCK]
        if len(header) < BLOCK:
            raise InvalidShardError("the tar ends without its end mark")
        if header[0] == 0:
            if header.count(0) == BLOCK:
                return
            raise InvalidShardError(f"the header at byte {start} has no name")
        name, kind = header[:100].rstrip(b"\0"), header[156:157]
        try:
            size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError as error:
            raise InvalidShardError(f"{_quoted(name)} has a size that is not a number") from error
        first, end = start + BLOCK, start + BLOCK + size
        if header[257:262] != b"ustar" or header[345] != 0:
            raise InvalidShardError(f"{_quoted(name)} has no plain ustar header")
        if size < 0 or end > len(data):
            raise InvalidShardError(f"{_quoted(name)} is longer than the tar")
        if kind not in (b"0", b"\0"):
            what = TYPES.get(kind, f"of unknown type {kind!r}")
            raise InvalidShardError(f"{_quoted(name)} is {what}; only plain files are read")
        if (match := MEMBER.fullmatch(name)) is None:
            raise InvalidShardError(f"{_quoted(name)} has an unexpected name; expected names like KEY.0000.png")
        yield _Member(name, match[1], None if match[3] else int(match[2]), (first, end))
        start = first + -(-size // BLOCK) * BLOCK


def _quoted(name: bytes, what: str = "member") -> str:
    return f"{what} {name[:100].decode('utf-8', 'replace')!r}"
