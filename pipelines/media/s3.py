"""What S3 does: requests that are tried again with growing pauses, transfers that go on where they broke, errors in a line.

Endpoint, keys and region come from the standard AWS_* variables (AWS_ENDPOINT_URL for a store of one's own). ``storage.py`` is
what the rest of the line calls.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from digan.errors import UserError

SCHEME = "s3://"
TRIES = 6  # of a request, or of a transfer that does not get on; botocore itself tries each request several times
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds between tries, doubled each time
CONNECT_SECONDS, SILENT_SECONDS = 10, 30  # without a connection, without a byte
MISSING = frozenset(("404", "NoSuchKey", "NotFound"))
REFUSED = {
    "403": "access is denied: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
    "NoSuchBucket": "there is no such bucket: create it, or correct the address",
}

Result = TypeVar("Result")


class Transfer(io.RawIOBase):
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
            reply = request(self._address, "get_object", **wanted, **same)
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


def request(address: str | Path, operation: str, **arguments: Any) -> Any:
    """What boto3's ``operation`` on the object answers; ``FileNotFoundError`` where there is none."""
    bucket, key = _parts(str(address))
    call = getattr(client(), operation)
    return patiently(str(address), lambda: call(Bucket=bucket, Key=key, **arguments))


def listed(address: str) -> Iterator[tuple[str, int, str]]:
    """Name below the address, size in bytes and ETag of every object there."""
    bucket, prefix = _parts(address, whole_bucket=True)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    token: dict[str, str] = {}
    while True:
        call = client().list_objects_v2
        page = patiently(address, lambda call=call, token=token: call(Bucket=bucket, Prefix=prefix, **token))  # type: ignore[misc]
        for found in page.get("Contents", ()):
            name = found["Key"][len(prefix) :]
            if name and not name.endswith("/"):  # some tools store empty objects for folders
                yield name, found["Size"], found["ETag"].strip('"')
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def upload(path: str | Path, address: str) -> None:
    """Copy a local file to the address, whole or not at all; large ones go in parts."""
    bucket, key = _parts(address)
    patiently(address, lambda: client().upload_file(str(path), bucket, key))


def copy(address: str, target: str) -> None:
    """Copy an object inside the store."""
    bucket, key = _parts(address)
    to_bucket, to_key = _parts(target)
    source = {"Bucket": bucket, "Key": key}
    patiently(address, lambda: client().copy(source, to_bucket, to_key))


def patiently(address: str, call: Callable[[], Result]) -> Result:
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
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-_]{1,62}", bucket) or not (key or whole_bucket):
        raise UserError(f"{address}: must be s3://bucket/prefix, the bucket in small letters, digits and hyphens")
    return bucket, key


def client() -> Any:
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
