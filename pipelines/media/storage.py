"""Bytes in and out, on a path or on S3: every address is a local path or ``s3://bucket/prefix``, as text.

Endpoint, keys and region come from the standard AWS_* variables (AWS_ENDPOINT_URL for a store of one's own). Requests
are tried again with growing pauses, a broken transfer goes on where it broke, and whatever is written appears whole or
not at all. SHA-256 is the caller's to check: it alone knows the sum.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from digan.errors import UserError

S3 = "s3://"
TRIES = 6  # of a request, or of a transfer that does not get on; botocore itself tries each request several times
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds between tries, doubled each time
CHUNK = 2**20
CONNECT_SECONDS, SILENT_SECONDS = 10, 30  # without a connection, without a byte
MISSING = frozenset(("404", "NoSuchKey", "NotFound"))
REFUSED = {
    "403": "access is denied: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
    "NoSuchBucket": "there is no such bucket: create it, or correct the address",
}

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file below an address: its name relative to it, its size in bytes, and a stamp that changes with its content."""

    name: str
    bytes: int
    stamp: str


def is_remote(address: str | Path) -> bool:
    """Whether this is an ``s3://`` address; ``UserError`` for any other scheme."""
    text = str(address)
    if text.startswith(S3):
        return True
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|pipe:", text):
        raise UserError(f"{text}: addresses of kind {scheme[0]} are not read; give a path or s3://bucket/prefix")
    return False


def join(address: str | Path, *parts: str) -> str:
    """The address of what lies below."""
    text = str(address)
    if is_remote(text):
        return "/".join([text.rstrip("/"), *(part.strip("/") for part in parts)])
    return str(Path(text, *parts))


def exists(address: str | Path) -> bool:
    """Whether a file lies at the address (on S3: an object; a prefix alone is none)."""
    if not is_remote(address):
        return Path(address).exists()
    try:
        _request(address, "head_object")
    except FileNotFoundError:
        return False
    return True


def size(address: str | Path) -> int:
    """The file's size in bytes; ``FileNotFoundError`` where there is none."""
    if not is_remote(address):
        return Path(address).stat().st_size
    return int(_request(address, "head_object")["ContentLength"])


def read_bytes(address: str | Path) -> bytes:
    """The whole file; ``FileNotFoundError`` where there is none."""
    if not is_remote(address):
        return Path(address).read_bytes()
    with open_read(address) as stream:
        return stream.read()


def write_bytes(address: str | Path, data: bytes) -> None:
    """Put ``data`` there, whole or not at all; folders are made."""
    if is_remote(address):
        _request(address, "put_object", Body=data)
        return
    with _draft(Path(address)) as draft, draft.open("wb") as stream:
        stream.write(data)
        _settle(stream)


def entries(address: str | Path) -> list[Entry]:
    """Every file below the address at any depth, sorted by name; unfinished ones are passed over, nothing there: none."""
    if is_remote(address):
        found = list(_listed(str(address)))
    else:
        root = Path(address)
        found = [
            Entry(name=path.relative_to(root).as_posix(), bytes=stat.st_size, stamp=str(stat.st_mtime_ns))
            for path in root.rglob("*")
            if path.is_file() and not _is_draft(path.name)
            for stat in (path.stat(),)
        ]
    return sorted(found, key=lambda entry: entry.name)


def list_names(address: str | Path) -> list[str]:
    """The names of all files below the address, relative to it, at any depth, sorted."""
    return [entry.name for entry in entries(address)]


def open_read(address: str | Path, offset: int = 0) -> BinaryIO:
    """A stream of the file's bytes from ``offset`` on; from S3 it is fetched as it is read and mended where it breaks.

    ``FileNotFoundError`` where there is no file. ``UserError`` where it changes while it is read.
    """
    if is_remote(address):
        return io.BufferedReader(_Transfer(str(address), offset), CHUNK)
    stream = Path(address).open("rb")  # noqa: SIM115 - the caller closes it
    stream.seek(offset)
    return stream


def upload(path: str | Path, address: str | Path) -> None:
    """Copy a local file to the address, whole or not at all; large ones go to S3 in parts."""
    if not is_remote(address):
        with _draft(Path(address)) as draft, draft.open("wb") as target, Path(path).open("rb") as source:
            shutil.copyfileobj(source, target, CHUNK)
            _settle(target)
        return
    bucket, key = _parts(str(address))
    _patiently(str(address), lambda: _client().upload_file(str(path), bucket, key))


def download(address: str | Path, path: str | Path) -> None:
    """Copy a file to a local path, whole or not at all; ``FileNotFoundError`` where there is none."""
    with open_read(address) as source, _draft(Path(path)) as draft, draft.open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK)
        _settle(target)


def move(address: str | Path, target: str | Path) -> None:
    """Give a file another address of the same store or disk; it is there under one of both at any moment."""
    if not is_remote(address):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(address).replace(target)
        return
    bucket, key = _parts(str(address))
    to_bucket, to_key = _parts(str(target))
    source = {"Bucket": bucket, "Key": key}
    _patiently(str(address), lambda: _client().copy(source, to_bucket, to_key))
    delete(address)


def delete(address: str | Path) -> None:
    """Remove a file; nothing happens where there is none."""
    if is_remote(address):
        _request(address, "delete_object")
    else:
        Path(address).unlink(missing_ok=True)


def delete_below(address: str | Path) -> None:
    """Remove every file below the address, one by one."""
    if not is_remote(address):
        shutil.rmtree(address, ignore_errors=True)
        return
    for name in list_names(address):
        delete(join(address, name))


class _Transfer(io.RawIOBase):
    """An object's bytes; a break is answered by asking for the rest, of the same version of the object."""

    def __init__(self, address: str, offset: int) -> None:
        self._address, self._place = address, offset
        self._body: Any = None
        self._etag = ""
        self._size = 0
        self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            if self._place >= self._size:
                return 0
            try:
                if self._body is None:
                    self._open()
                data = self._body.read(min(len(buffer), self._size - self._place))
                if not data:
                    raise ConnectionResetError("the transfer ended early")
            except Exception as error:
                self._drop()
                if not left or not _passing(error):
                    raise _named(self._address, error) from error
                _wait(self._address, error, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                buffer[: len(data)] = data
                self._place += len(data)
                return len(data)
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._drop()
        super().close()

    def _open(self) -> None:
        wanted = {"Range": f"bytes={self._place}-"} if self._place else {}
        same = {"IfMatch": self._etag} if self._etag else {}
        try:
            reply = _request(self._address, "get_object", **wanted, **same)
        except Exception as error:
            if _code(error) == "InvalidRange":  # beyond the end: nothing to read
                self._size = self._place
                return
            raise
        if self._place and reply["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise UserError(f"{self._address}: the store cannot read from the middle (Range); use another store")
        self._body, self._etag = reply["Body"], reply["ETag"]
        self._size = self._place + reply["ContentLength"]

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def _request(address: str | Path, operation: str, **arguments: Any) -> Any:
    bucket, key = _parts(str(address))
    call = getattr(_client(), operation)
    return _patiently(str(address), lambda: call(Bucket=bucket, Key=key, **arguments))


def _listed(address: str) -> Iterator[Entry]:
    bucket, prefix = _parts(address, whole_bucket=True)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    token: dict[str, str] = {}
    while True:
        call = _client().list_objects_v2
        page = _patiently(address, lambda call=call, token=token: call(Bucket=bucket, Prefix=prefix, **token))  # type: ignore[misc]
        for found in page.get("Contents", ()):
            name = found["Key"][len(prefix) :]
            if name and not name.endswith("/"):  # some tools store empty objects for folders
                yield Entry(name=name, bytes=found["Size"], stamp=found["ETag"].strip('"'))
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _patiently(address: str, call: Callable[[], Result]) -> Result:
    """The result of a request that is tried again while its failures may pass; the error names the address."""
    pause = FIRST_PAUSE
    for left in reversed(range(TRIES)):
        try:
            return call()
        except Exception as error:
            if not left or not _passing(error):
                raise _named(address, error) from error
            _wait(address, error, pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    raise AssertionError("unreachable")


def _wait(address: str, error: Exception, pause: float) -> None:
    if pause > 1:  # a single hiccup is not worth a line
        print(f"{address}: {_reason(error)}; trying again", file=sys.stderr, flush=True)
    time.sleep(pause)


def _code(error: BaseException) -> str:
    """The store's own code of an error; empty where it is none of the store's."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _status(error: BaseException) -> int:
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _passing(error: Exception) -> bool:
    """Whether trying again may help: lost connections, silence, 5xx and 'slow down'; no refusal, no mistake."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    if isinstance(error, S3UploadFailedError):
        return not re.search(r"\((4\d\d|[A-Z]\w*(Denied|Bucket|Key\w*|DoesNotMatch))\)", str(error))
    if isinstance(error, FileNotFoundError):
        return False
    lost = (HTTPClientError, IncompleteReadError, ConnectionError, TimeoutError)
    return isinstance(error, lost) or _status(error) >= 500 or _status(error) == 429


def _reason(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text[:200]


def _named(address: str, error: Exception) -> Exception:
    """What to raise: ``FileNotFoundError`` for what is not there, a ``UserError`` for what the user can mend."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    if isinstance(error, UserError | FileNotFoundError):
        return error
    code, status = _code(error), _status(error)
    if code == "InvalidRange":
        return error
    if code in MISSING:
        return FileNotFoundError(2, "no such object", address)
    if code == "PreconditionFailed":
        return UserError(f"{address}: was changed while it was being read; start again")
    if isinstance(error, NoCredentialsError):
        return UserError(f"{address}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    remedy = REFUSED.get(code) or REFUSED.get(str(status))
    if remedy:
        return UserError(f"{address}: {remedy}")
    if status or isinstance(error, BotoCoreError | S3UploadFailedError | ConnectionError | TimeoutError):
        place = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        return UserError(f"{address}: the store at {place} fails ({_reason(error)}); check AWS_ENDPOINT_URL, try again")
    return error


def _parts(address: str, *, whole_bucket: bool = False) -> tuple[str, str]:
    bucket, _, key = address.removeprefix(S3).partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-_]{1,62}", bucket) or not (key or whole_bucket):
        raise UserError(f"{address}: must be s3://bucket/prefix, the bucket in small letters, digits and hyphens")
    return bucket, key


def _client() -> Any:
    """One client a process and environment; boto3's clients may be shared by threads, not by forks."""
    names = sorted(name for name in os.environ if name.startswith("AWS_"))
    return _client_for(os.getpid(), tuple((name, os.environ[name]) for name in names))


@lru_cache(maxsize=4)
def _client_for(process: int, environment: tuple[tuple[str, str], ...]) -> Any:
    import boto3
    from botocore.config import Config

    given = dict(environment)
    options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENT_SECONDS}
    if "AWS_MAX_ATTEMPTS" not in given:
        options["retries"] = {"mode": "standard", "total_max_attempts": 4}
    if "AWS_REQUEST_CHECKSUM_CALCULATION" not in given:  # many stores other than AWS do not know the newer checksums
        options |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1"
    config = Config(max_pool_connections=32, **options)
    return boto3.session.Session(region_name=region).client("s3", config=config)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A temporary name beside ``target`` that takes its place when the block ends well, and goes when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _is_draft(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


def _settle(stream: BinaryIO) -> None:
    """On the disk before the rename, so that no power cut leaves a whole name on half a file."""
    stream.flush()
    os.fsync(stream.fileno())
