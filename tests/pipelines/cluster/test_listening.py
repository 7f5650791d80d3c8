"""A private cluster is this machine's alone: its ports are on loopback addresses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import psutil
import pytest

from pipelines.cluster import ray_cluster
from tests.pipelines.cluster.test_ray_cluster import CONFIG
from tests.pipelines.small_run import write_params, write_shards

VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def listening(process: psutil.Process) -> set[tuple[str, int, str]]:
    """Address, port and process name of all sockets on which ``process`` and its descendants listen."""
    found = set()
    for each in (process, *process.children(recursive=True)):
        try:
            name = each.name()
            ports = [socket.laddr for socket in each.net_connections("inet") if socket.status == psutil.CONN_LISTEN]
            found |= {(port.ip, port.port, name) for port in ports}
        except psutil.Error:  # it has ended
            continue
    return found


def is_loopback(address: str) -> bool:
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback


def test_no_stage_imports_ray_before_it_knows_the_cluster() -> None:
    """Ray reads ``VARIABLE`` when it is imported."""
    names = ("ingest", "reference", "train", "evaluate", "tune", "cli.main", "cli.evaluate")
    code = "; ".join(("import sys", *(f"import pipelines.{name}" for name in names), "sys.exit('ray' in sys.modules)"))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("address", "variable", "private"), [("", "", True), ("h:1", "", False), ("", "h:1", False), ("", "local", True)]
)
def test_only_private_clusters_stay_on_loopback(
    address: str, variable: str, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", variable)
    monkeypatch.setenv(VARIABLE, "1")
    ray_cluster.stay_on_loopback(replace(CONFIG, address=address))
    assert os.environ[VARIABLE] == ("0" if private else "1")


@pytest.mark.slow
def test_training_listens_on_loopback_but_for_torchs_rendezvous(tmp_path: Path) -> None:
    """PyTorch's rendezvous of worker 0 has no option for its address; it takes addresses only, and no objects."""
    write_params(tmp_path, clips=80)
    write_shards(tmp_path / "outputs/shards")
    dropped = ("RAY_ADDRESS", "GLOO_SOCKET_IFNAME", VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    process = subprocess.Popen([sys.executable, "-m", "pipelines.train"], cwd=tmp_path, env=environment)
    found: set[tuple[str, int, str]] = set()
    while process.poll() is None:
        found |= listening(psutil.Process(process.pid))
        time.sleep(0.2)
    assert process.returncode == 0
    names = {name.partition(".")[0] for _, _, name in found}
    assert {"gcs_server", "raylet", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::RayTrainWorker"} <= names
    elsewhere = {(port, name.partition(".")[0]) for address, port, name in found if not is_loopback(address)}
    assert len(elsewhere) == 1 and {name for _, name in elsewhere} == {"ray::RayTrainWorker"}, elsewhere
