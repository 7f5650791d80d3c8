"""Objects on S3 through boto3: multipart uploads, reads that resume after a lost connection, errors in one line.

Endpoint, keys and region come from the standard AWS_* variables (AWS_ENDPOINT_URL for a store other than AWS). Other
packages call ``file_io.py``. Listings use boto3 too, not s3fs: one set of credentials, retries and error codes for all.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from digan.errors import UserError
from digan.redaction import redacted

log = logging.getLogger(__name__)

SCHEME = "s3://"
ATTEMPTS = 10  # of a request, by botocore, with pauses that double up to 20 s
RESUMES = 6  # of a read that receives nothing in between
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds before a read resumes, doubled each time
CONNECT_SECONDS, READ_SECONDS = 10, 30  # timeouts
MISSING = frozenset(("404", "NoSuchKey", "NotFound"))
REMEDIES = {
    "403": "access is denied: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
    "NoSuchBucket": "there is no such bucket: create it, or correct the address",
}


class ObjectReader(io.RawIOBase):
    """The bytes of an object from ``position``; after a lost connection, it requests the rest of the same version."""

    def __init__(self, address: str, position: int) -> None:
        self._address, self._position = address, position
        self._body: Any = None
        self._etag, self._size = "", 0
        self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        failures = 0
        while self._position < self._size:
            try:
                if self._body is None:
                    self._open()
                data = self._body.read(min(len(buffer), self._size - self._position))
                if not data:
                    raise ConnectionResetError("the transfer ended early")
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            except (HTTPClientError, IncompleteReadError, ConnectionError, TimeoutError) as error:
                self._drop()
                failures += 1
                if failures == RESUMES:
                    raise _unreachable(self._address, error) from error
                pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
                log.log(logging.WARNING if pause > 1 else logging.INFO, "%s: %s; resuming", self._address, error)
                time.sleep(pause)
        return 0

    def close(self) -> None:
        self._drop()
        super().close()

    def _open(self) -> None:
        from botocore.exceptions import ClientError

        part = {"Range": f"bytes={self._position}-"} if self._position else {}
        same_version = {"IfMatch": self._etag} if self._etag else {}
        try:
            reply = request(self._address, "get_object", **part, **same_version)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidRange":
                raise
            self._size = self._position  # beyond the end
            return
        if self._position and reply["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise UserError(f"{self._address}: the store cannot read from the middle (Range); use another store")
        self._body, self._etag = reply["Body"], reply["ETag"]
        self._size = self._position + reply["ContentLength"]

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None


def request(address: str | Path, operation: str, **arguments: Any) -> Any:
    """The reply to boto3's ``operation`` on the object; ``FileNotFoundError`` if it is missing."""
    bucket, key = _parts(str(address))
    with _clear_errors(str(address)):
        return getattr(client(), operation)(Bucket=bucket, Key=key, **arguments)


def listed(address: str) -> Iterator[tuple[str, int, str]]:
    """Relative name, size in bytes and ETag of every object below the address."""
    bucket, prefix = _parts(address, whole_bucket=True)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    with _clear_errors(address):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                name = found["Key"][len(prefix) :]
                if name and not name.endswith("/"):  # some tools create empty objects for folders
                    yield name, found["Size"], found["ETag"].strip('"')


def upload(address: str, source: bytes | Path) -> None:
    """Write an object, whole or not at all, from bytes or a local file; above 8 MiB in parts, each with its own attempts."""
    bucket, key = _parts(address)
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream, _clear_errors(address):
        client().upload_fileobj(stream, bucket, key)


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    """Turn boto3's errors into ``FileNotFoundError`` or a ``UserError`` that names the address and a remedy."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise UserError(f"{address}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except BotoCoreError as error:
        raise _unreachable(address, error) from error
    except ClientError as error:
        code = str(error.response["Error"].get("Code", ""))
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        if code == "InvalidRange":
            raise
        if code in MISSING:
            raise FileNotFoundError(2, "no such object", address) from error
        if code == "PreconditionFailed":
            raise UserError(f"{address}: was changed while it was being read; start again") from error
        if remedy := REMEDIES.get(code) or REMEDIES.get(status):
            raise UserError(f"{address}: {remedy}") from error
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> UserError:
    reason = (redacted(str(error)).strip().splitlines() or [type(error).__name__])[0][:200]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
    return UserError(f"{address}: the store at {endpoint} fails ({reason}); check AWS_ENDPOINT_URL, try again")


def _parts(address: str, *, whole_bucket: bool = False) -> tuple[str, str]:
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-_]{1,62}", bucket) or not (key or whole_bucket):
        raise UserError(f"{address}: must be s3://bucket/prefix, the bucket in lower case letters, digits and hyphens")
    return bucket, key


def client() -> Any:
    """boto3's client, one per process and environment: threads may share it, forks may not."""
    return _client_for(os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=4)
def _client_for(process: int, environment: tuple[tuple[str, str], ...]) -> Any:
    import boto3
    from botocore.config import Config

    given = dict(environment)
    attempts = {} if "AWS_MAX_ATTEMPTS" in given else {"total_max_attempts": ATTEMPTS}
    retries = {"mode": given.get("AWS_RETRY_MODE", "standard"), **attempts}
    options: dict[str, Any] = {}
    if "AWS_REQUEST_CHECKSUM_CALCULATION" not in given:  # many other stores do not support the newer checksums
        options = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1"
    config = Config(max_pool_connections=32, retries=retries, **timeouts, **options)
    return boto3.session.Session(region_name=region).client("s3", config=config)
