"""Bytes in and out on paths and on a real S3 server, with and without faults between."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from digan.errors import UserError
from pipelines.storage import file_io, s3
from tests.s3 import Fault, S3Server, faulty

DATA = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(params=["path", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    if request.param == "path":
        return str(tmp_path / "place")
    return file_io.join(request.getfixturevalue("s3_bucket"), "some/prefix")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses and few attempts."""
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")


def through(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)


def test_what_is_written_is_read(place: str, tmp_path: Path) -> None:
    address = file_io.join(place, "train", "a.tar")
    assert not file_io.exists(address) and file_io.list_names(place) == []
    file_io.write_bytes(address, b"old")
    file_io.write_bytes(address, DATA)
    file_io.write_bytes(file_io.join(place, "b c+ü.bin"), b"")
    assert file_io.exists(address) and file_io.size(address) == len(DATA) and file_io.read_bytes(address) == DATA
    assert file_io.read_bytes(file_io.join(place, "b c+ü.bin")) == b""
    assert file_io.list_names(place) == ["b c+ü.bin", "train/a.tar"]
    assert file_io.list_names(file_io.join(place, "tra")) == []  # a prefix of a name is no folder
    assert [entry.bytes for entry in file_io.entries(place)] == [0, len(DATA)]
    with file_io.open_read(address, 2_999_990) as stream:
        assert stream.read(4) == DATA[-10:-6] and stream.read() == DATA[-6:]
    with file_io.open_read(address, 10**9) as stream:
        assert stream.read() == b""
    file_io.copy(address, tmp_path / "down/a.tar")
    assert (tmp_path / "down/a.tar").read_bytes() == DATA
    file_io.copy(tmp_path / "down/a.tar", file_io.join(place, "up.tar"))
    assert file_io.read_bytes(file_io.join(place, "up.tar")) == DATA
    file_io.delete(address)
    file_io.delete(address)
    assert not file_io.exists(address) and file_io.list_names(place) == ["b c+ü.bin", "up.tar"]


def test_what_is_missing_is_a_missing_file(place: str, tmp_path: Path) -> None:
    for call in (file_io.read_bytes, file_io.open_read, lambda address: file_io.copy(address, tmp_path / "x")):
        with pytest.raises(FileNotFoundError):
            call(file_io.join(place, "nothing"))
    assert list(tmp_path.glob("**/*x*")) == []


def test_large_files_go_up_in_parts(s3_bucket: str, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        for number in range(20):
            file.write(np.random.default_rng(number).bytes(2**20))
    file_io.copy(tmp_path / "large", file_io.join(s3_bucket, "large"))
    with file_io.open_read(file_io.join(s3_bucket, "large")) as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    with (tmp_path / "large").open("rb") as stream:
        assert found == hashlib.file_digest(stream, "sha256").hexdigest()


def test_many_files_are_all_listed(s3_bucket: str, s3_server: S3Server) -> None:
    client = s3_server.client()
    for number in range(1005):  # a page has a thousand
        client.put_object(Bucket=s3_bucket.removeprefix("s3://"), Key=f"many/{number:05d}", Body=b"")
    assert file_io.list_names(file_io.join(s3_bucket, "many")) == [f"{number:05d}" for number in range(1005)]


def test_faults_on_the_way_change_no_byte(
    s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, quick: None, tmp_path: Path
) -> None:
    """Every third request is refused, every other body is cut, and all of them are slow."""

    def fault(number: int, method: str, path: str) -> Fault:
        return Fault(refuse=number % 3 == 0, cut=0.4 if number % 2 else None, pause=0.001)

    with faulty(s3_server, fault) as proxy:
        through(proxy.server, monkeypatch)
        for number in range(6):
            address = file_io.join(s3_bucket, f"{number}")
            file_io.write_bytes(address, DATA[number:])
            assert file_io.read_bytes(address) == DATA[number:]
            with file_io.open_read(address, 1_000_000) as stream:
                assert stream.read() == DATA[number + 1_000_000 :]
    assert proxy.rejected >= 5 and proxy.cut >= 5


def test_a_store_that_stays_down_is_one_line(
    s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    with faulty(s3_server, lambda *_: Fault(refuse=True)) as proxy:
        through(proxy.server, monkeypatch)
        with pytest.raises(UserError, match=rf"^{s3_bucket}/x: the store at http://127\S+ fails .*try again$"):
            file_io.read_bytes(f"{s3_bucket}/x")
    assert proxy.requests == 4
    with pytest.raises(UserError, match=r"fails .*check AWS_ENDPOINT_URL"):  # nobody listens there any more
        file_io.read_bytes(f"{s3_bucket}/x")


def test_a_file_that_changes_while_it_is_read_is_not_mixed(
    s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    file_io.write_bytes(f"{s3_bucket}/x", DATA)
    with faulty(s3_server, lambda number, *_: Fault(cut=0.5 if number == 1 else None)) as proxy:
        through(proxy.server, monkeypatch)
        with file_io.open_read(f"{s3_bucket}/x") as stream:
            stream.read(10)
            s3_server.client().put_object(Bucket=s3_bucket.removeprefix("s3://"), Key="x", Body=DATA[::-1])
            with pytest.raises(UserError, match="was changed while it was being read"):
                stream.read()


def test_wrong_keys_and_buckets_are_one_line(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^s3://no-such-bucket/x: there is no such bucket"):
        file_io.read_bytes("s3://no-such-bucket/x")  # this server makes buckets that are written to
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="access is denied: check AWS_ACCESS_KEY_ID"):
        file_io.read_bytes(f"{s3_bucket}/x")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(UserError, match="no keys; set AWS_ACCESS_KEY_ID"):
        file_io.read_bytes(f"{s3_bucket}/x")


@pytest.mark.parametrize("address", ["http://host/x", "gs://bucket/x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="give a path or s3://bucket/prefix"):
        file_io.read_bytes(address)


@pytest.mark.parametrize("address", ["s3://", "s3:///key", "s3://bucket", "s3://A_B/key"])
def test_half_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="must be s3://bucket/prefix"):
        file_io.read_bytes(address)


def test_a_draft_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_io.write_bytes(tmp_path / "x", b"old")

    def full(descriptor: int) -> None:
        assert file_io.list_names(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == b"old"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file_io.write_bytes(tmp_path / "x", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
