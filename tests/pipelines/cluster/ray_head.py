"""A Ray cluster for tests that is there before the stages run: `ray start --head`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.s3 import free_ports

RAY = (sys.executable, "-m", "ray.scripts.scripts")  # the command `ray`
READY = "This command will now block"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A running head with two CPUs: its address, that of Ray's client server, and an environment for drivers."""

    address: str
    client: str
    environment: dict[str, str]


@contextmanager
def running_head(folder: Path, ray: Sequence[str | Path] = RAY) -> Iterator[Head]:
    """Run `ray start --head` in ``folder``, which need not be a stage's, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="dgr", dir="/tmp", ignore_cleanup_errors=True) as home:
        dropped = ("RAY_", "PYTHONPATH", "MLFLOW_TRACKING_URI", "AWS_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        environment |= {"HOME": home, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        port, client, dashboard, agent = free_ports(4)
        options = [f"--port={port}", f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"]
        options += [f"--dashboard-agent-listen-port={agent}", "--num-cpus=2", "--object-store-memory=100000000"]
        command = [*ray, "start", "--head", "--block", f"--temp-dir={home}/r", *options]
        with start(command, folder, environment, Path(home, "log")):
            head, driver = f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}"
            yield Head(address=head, client=driver, environment=environment)


@contextmanager
def start(command: Sequence[str | Path], folder: Path, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run `ray start --block` until the end of the block, which begins when it is ready."""
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
        yield
    finally:
        process.terminate()
        process.wait(60)
