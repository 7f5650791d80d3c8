"""A shard's bytes to its samples, strictly: members that no shard of ours has are refused by name.

The tars are standard ones that any reader of WebDataset takes. Reading them here is a walk over headers of 512 bytes,
since ``tarfile`` takes longer for a member's header than its picture takes to decode; and nothing is ever unpacked.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

BLOCK = 512
MEMBER = re.compile(rb"([A-Za-z0-9_-]+)\.(?:(\d{4,9})\.(?:png|jpg|webp)|(json))")
TYPES = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
    b"L": "a GNU long name", b"K": "a GNU long link", b"x": "a pax header", b"g": "a global pax header",
    b"S": "a sparse file",
}  # fmt: skip


class NoShard(ValueError):
    """Why bytes are not a shard of ours; the text names the member."""


@dataclass(frozen=True)
class Sample:
    """A segment as it lies in a shard: where its encoded pictures and its JSON are in the shard's bytes."""

    data: bytes
    spans: tuple[tuple[int, int], ...]
    json_span: tuple[int, int]

    def picture(self, number: int) -> bytes:
        """The encoded picture of frame ``number``."""
        first, last = self.spans[number]
        return self.data[first:last]

    @property
    def meta(self) -> dict[str, Any]:
        """What the JSON says."""
        found = json.loads(self.data[slice(*self.json_span)])
        if not isinstance(found, dict):
            raise NoShard("a sample's JSON is no table")
        return found


def samples_of(data: bytes) -> tuple[Sample, ...]:
    """The samples of a tar in their order; ``NoShard`` where a member is not a plain file, points outside, repeats, is
    of no known type, or the tar ends before its end.
    """
    found: list[Sample] = []
    keys: set[bytes] = set()
    key = b""
    spans: list[tuple[int, int]] = []
    json_span: tuple[int, int] | None = None
    for name, kind, first, last in _members(data):
        match = MEMBER.fullmatch(name)
        if kind not in (b"0", b"\0"):
            what = TYPES.get(kind, f"of unknown type {kind!r}")
            raise NoShard(f"member {_shown(name)} is {what}; only plain files are read")
        if match is None:
            raise NoShard(
                f"member {_shown(name)} points outside or is of no known kind; only KEY.0000.png and such are"
            )
        if match[1] != key:
            if key:
                found.append(_sample(data, key, spans, json_span))
            key, spans, json_span = match[1], [], None
            if key in keys:
                raise NoShard(f"member {_shown(name)}: its sample comes twice")
            keys.add(key)
        if match[3]:
            if json_span is not None:
                raise NoShard(f"member {_shown(name)} comes twice")
            json_span = first, last
        else:
            if int(match[2]) != len(spans):
                raise NoShard(f"member {_shown(name)} comes twice or out of order; frame {len(spans)} was to come")
            spans.append((first, last))
    if key:
        found.append(_sample(data, key, spans, json_span))
    return tuple(found)


def _members(data: bytes) -> list[tuple[bytes, bytes, int, int]]:
    """Name, type, first byte and end of each member."""
    found: list[tuple[bytes, bytes, int, int]] = []
    place = 0
    while True:
        header = data[place : place + BLOCK]
        if len(header) < BLOCK:
            raise NoShard("the tar ends without its end mark")
        if header[0] == 0:
            if header.count(0) == BLOCK:
                return found
            raise NoShard(f"the header at byte {place} has no name")
        name = header[:100].rstrip(b"\0")
        try:
            size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError as error:
            raise NoShard(f"member {_shown(name)} has a size that is no number") from error
        if header[257:262] != b"ustar" or header[345] != 0:
            raise NoShard(f"member {_shown(name)} has no plain ustar header")
        first = place + BLOCK
        if size < 0 or first + size > len(data):
            raise NoShard(f"member {_shown(name)} is longer than the tar")
        found.append((name, header[156:157], first, first + size))
        place = first + -(-size // BLOCK) * BLOCK


def _sample(data: bytes, key: bytes, spans: list[tuple[int, int]], json_span: tuple[int, int] | None) -> Sample:
    if json_span is None or not spans:
        raise NoShard(f"sample {_shown(key)} has no {'pictures' if json_span else 'JSON'}")
    return Sample(data, tuple(spans), json_span)


def _shown(name: bytes) -> str:
    return repr(name[:100].decode("utf-8", "replace"))
