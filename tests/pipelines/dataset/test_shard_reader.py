"""Tars that are not shards of this project are refused, and the member at fault is named."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.dataset.loader import read_shard
from pipelines.dataset.shard_index import Shard


def hostile(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = (("a.0000.png", b"1"), ("a.json", b"{}"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hostile(("../a.0000.png", b"1")), "member '../a.0000.png' has an unexpected name"),
        (hostile(("/a.0000.png", b"1")), "member '/a.0000.png' has an unexpected name"),
        (hostile(("b/a.0000.png", b"1")), "member 'b/a.0000.png' has an unexpected name"),
        (hostile(*GOOD, ("a.pkl", b"1")), "member 'a.pkl' has an unexpected name"),
        (hostile(special("a.0000.png", tarfile.SYMTYPE, "/etc/passwd")), "'a.0000.png' is a symbolic link"),
        (hostile(special("a.0000.png", tarfile.LNKTYPE, "b")), "'a.0000.png' is a hard link"),
        (hostile(special("a", tarfile.DIRTYPE)), "'a/' is a folder"),
        (hostile(special("a.json", tarfile.FIFOTYPE)), "'a.json' is a pipe"),
        (hostile(special("a.json", b"Z")), "'a.json' is of unknown type b'Z'"),
        (hostile(*GOOD, ("a.json", b"{}")), "member 'a.json' occurs twice"),
        (hostile(GOOD[0], GOOD[0], GOOD[1]), "member 'a.0000.png' occurs twice"),
        (hostile(("a.0001.png", b"1")), "frame 0 was expected"),
        (hostile(*GOOD, ("b.0000.png", b"1"), ("b.json", b"{}"), *GOOD), "'a.0000.png': its sample occurs twice"),
        (hostile(("a.0000.png", b"1")), "sample 'a' has no JSON"),
        (hostile(("a.json", b"1")), "sample 'a' has no pictures"),
        (hostile(*GOOD)[:2048], "ends without its end mark"),
        (hostile(*GOOD)[:700], "longer than the tar|without its end"),
        (hostile(*GOOD).replace(b"00000000001\0", b"77777777777\0"), "longer than the tar"),
        (hostile(*GOOD).replace(b"00000000001\0", b"-0000000001\0"), "longer than the tar|not a number"),
        (hostile(*GOOD).replace(b"ustar", b"ustxr"), "no plain ustar header"),
        (b"", "ends without"),
    ],
)
def test_hostile_tars_are_refused_and_named(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    shard = Shard(path="x.tar", bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), videos=1, windows=(1,))
    with pytest.raises(UserError, match=rf"^{tmp_path}/x\.tar: .*({reason}).*make the shards again"):
        read_shard(tmp_path / "x.tar", shard)
