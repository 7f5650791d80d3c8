"""Separate hosts on one machine: network namespaces joined by veth, each with its own raylet and its own view of the disk.

Needs root and iproute2. The first host's folder is hidden from the others, so no disk is shared.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NETWORK = "10.77.{}.{}"
KEY, SECRET = "digan-test", "digan-test-secret"
TOKEN = secrets.token_hex(32)  # without it no machine and no driver joins
BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]


def possible() -> str:
    """Why hosts cannot be created here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs iproute2 and util-linux: apt-get install iproute2"
    probe = subprocess.run(["ip", "netns", "add", f"dgp{os.getpid()}"], capture_output=True, check=False)
    if probe.returncode:
        return f"the kernel gives no network namespaces ({probe.stderr.decode().strip()})"
    subprocess.run(["ip", "netns", "del", f"dgp{os.getpid()}"], check=True)
    return ""


@dataclass
class Host:
    """A network namespace with an address; ``folder`` is its own disk, ``hidden`` another host's that it cannot see."""

    name: str
    address: str
    folder: Path
    hidden: Path | None = None
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str, environment: dict[str, str] | None = None, log: str = "") -> subprocess.Popen[str]:
        """Start a process on this host; it finds ``hidden`` empty."""
        inside = f'mount -t tmpfs none "{self.hidden}" && exec "$@"' if self.hidden else 'exec "$@"'
        script = ["unshare", "-m", "--propagation", "private", "bash", "-c", inside, "host", *command]
        output = (self.folder / log).open("a") if log else subprocess.PIPE
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *script],
            env=clean(environment or {}) | {"RAY_TMPDIR": str(self.folder / "r")},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """Kill all processes of this host at once, as a power failure does."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        for pid in found.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.processes:
            process.wait(timeout=30)

    def cut(self) -> None:
        """Take the network interface down."""
        subprocess.run(["ip", "-n", self.name, "link", "set", "eth0", "down"], check=True)


def clean(extra: dict[str, str]) -> dict[str, str]:
    """This process's environment without settings of Ray, MLflow, S3 and Python's cache, and with ``extra``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "AWS_", "PYTHONDONT"))}
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "eth0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    return kept | quiet | extra


@contextmanager
def joined(count: int, folder: Path) -> Iterator[list[Host]]:
    """``count`` hosts on one network (a bridge in its own namespace); all of it is removed at the end."""
    number, tag = os.getpid() % 250, f"dg{os.getpid() % 10000}"
    switch = f"{tag}sw"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", switch)
    hosts: list[Host] = []
    try:
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for k in range(1, count + 1):
            own = folder / f"host{k}"
            own.mkdir()
            host = Host(f"{tag}h{k}", NETWORK.format(number, k), own)
            ip("netns", "add", host.name)
            hosts.append(host)
            ip("link", "add", f"{tag}v{k}", "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            ip("-n", switch, "link", "set", f"{tag}v{k}", "master", "br0", "up")
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", host.name, "link", "set", device, "up")
        for host in hosts[1:]:  # no shared disk
            host.hidden = hosts[0].folder
        yield hosts
    finally:
        for host in hosts:
            host.kill()
            ip("netns", "del", host.name)
        ip("netns", "del", switch)


def start_ray(host: Host, head: Host, *, cpus: int = 1) -> None:
    """Start a raylet on ``host``, as the cluster's head if ``host`` is ``head``."""
    where = (
        ["--head", "--port=6379", "--dashboard-host=0.0.0.0"] if host is head else [f"--address={head.address}:6379"]
    )
    own = [f"--temp-dir={host.folder / 'r'}"] if host is head else []
    host.start(
        *(str(BIN / "ray"), "start", "--block", *where, f"--node-ip-address={host.address}", f"--num-cpus={cpus}"),
        *("--object-store-memory=100000000", "--disable-usage-stats", *own),
        log="ray.log",
    )


def wait_for(what: str, seconds: float, holds: Callable[[], object], log: Path | None = None) -> None:
    """Wait until ``holds()`` is true; ``AssertionError`` with the end of ``log`` after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
        time.sleep(0.5)
    tail = log.read_text(errors="replace")[-3000:] if log and log.exists() else ""
    raise AssertionError(f"{what}: not within {seconds:.0f} s\n{tail}")


def inside(host: Host, *command: str, seconds: float = 60, environment: dict[str, str] | None = None) -> str:
    """The output of a command on the host."""
    done = subprocess.run(
        ["ip", "netns", "exec", host.name, *command],
        env=clean(environment or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.stdout


def start_s3(host: Host) -> dict[str, str]:
    """Start SeaweedFS on the host, with one bucket ``digan``; returns the environment variables of its clients."""
    config = {
        "identities": [
            {
                "name": "digan",
                "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
        ]
    }
    (host.folder / "s3.json").write_text(json.dumps(config))
    (host.folder / "s3").mkdir()
    host.start(
        *(str(BIN / "weed"), "server", f"-dir={host.folder / 's3'}", f"-ip={host.address}", f"-ip.bind={host.address}"),
        *(
            "-s3",
            "-s3.port=8333",
            f"-s3.config={host.folder / 's3.json'}",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=300",
        ),
        log="s3.log",
    )
    found = {
        "AWS_ENDPOINT_URL": f"http://{host.address}:8333",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    code = "import boto3; boto3.client('s3').create_bucket(Bucket='digan'); print('made')"

    def made() -> bool:
        done = subprocess.run(
            ["ip", "netns", "exec", host.name, sys.executable, "-c", code],
            env=clean(found),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return "made" in done.stdout or "BucketAlready" in done.stderr

    wait_for("the S3 server", 180, made)
    return found


def start_mlflow(host: Host) -> str:
    """Start an MLflow server on the host; returns its address."""
    host.start(
        *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", host.address, "--port", "5000"),
        *(
            "--backend-store-uri",
            f"sqlite:///{host.folder / 'mlflow.db'}",
            "--artifacts-destination",
            str(host.folder / "art"),
        ),
        *("--allowed-hosts", f"{host.address}:5000"),
        log="mlflow.log",
    )
    uri = f"http://{host.address}:5000"
    wait_for("MLflow", 300, lambda: "OK" in inside(host, "curl", "-s", f"{uri}/health"))
    return uri
