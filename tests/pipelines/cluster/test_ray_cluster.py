"""The section `cluster` of params.yaml, and the connection to Ray, which cleans up after itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from digan.errors import UserError
from pipelines.cluster import ray_cluster
from pipelines.cluster.ray_cluster import ClusterConfig

CONFIG = ClusterConfig(
    address="", workers=2, min_workers=0, cpus_per_worker=1, gpus_per_worker=0, max_failures=3, storage=""
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers", 0),
        ("min_workers", -1),
        ("min_workers", 3),
        ("storage", "/mnt/run"),
        ("storage", "s3://bucket"),
        ("cpus_per_worker", 0),
        ("gpus_per_worker", 2),
        ("gpus_per_worker", -1),
        ("max_failures", -1),
        ("address", "http://host:1"),
        ("address", "no address"),
    ],
)
def test_invalid_value_is_rejected_by_its_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^cluster.{key}={value}: "):
        replace(CONFIG, **{key: value})


@pytest.mark.parametrize(
    "address", ["", "auto", "127.0.0.1:6379", "[fe80::1%eth0]:6379", "ray://[::1]:10001", "ray://head.example:10001"]
)
def test_valid_addresses_are_accepted(address: str) -> None:
    assert replace(CONFIG, address=address).address == address


def test_resources_contain_gpus_only_if_asked_for() -> None:
    assert CONFIG.resources_per_worker == {"CPU": 1.0}
    with_gpu = replace(CONFIG, gpus_per_worker=1)
    assert with_gpu.resources_per_worker == {"CPU": 1.0, "GPU": 1.0}


def test_cpu_worker_has_one_heap_unless_the_user_sets_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert CONFIG.worker_environment == {"MALLOC_ARENA_MAX": "1"}
    assert replace(CONFIG, gpus_per_worker=1).worker_environment == {}
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert CONFIG.worker_environment == {"MALLOC_ARENA_MAX": "4"}


def test_request_beyond_the_cluster_is_rejected_with_a_number_that_fits() -> None:
    with pytest.raises(
        UserError, match=r"^cluster.workers=4: .* needs 4 GPUs, and the cluster has 2; try cluster.workers=2$"
    ):
        ray_cluster._check_capacity(replace(CONFIG, workers=4, gpus_per_worker=1), {"CPU": 64, "GPU": 2}, "the cluster")


def test_address_without_a_listener_is_rejected_at_once() -> None:
    with (
        pytest.raises(UserError, match=r"^cluster.address=127.0.0.1:1: no Ray cluster answers there"),
        ray_cluster.connect(replace(CONFIG, address="127.0.0.1:1")),
    ):
        pass


def test_refused_login_is_said_with_the_way_to_pass_a_token() -> None:
    """Ray raises a ConnectionError after a wrong token or none; the port is open then."""
    missing = ray.exceptions.AuthenticationError("Token authentication is enabled but no token was found")
    refused = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    for error in (missing, refused):
        line = str(ray_cluster._refusal("10.0.0.1:6379", error, reached=True))
        assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file" in line and line.count("\n") == 0
    assert "RAY_AUTH" not in str(ray_cluster._refusal("10.0.0.1:6379", refused, reached=False))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (
            "http://127.0.0.1:8265",
            "is the address of a dashboard, which takes jobs, and no address of a Ray cluster; try RAY_A",
        ),
        ("https://head", "is the address of a dashboard"),
        ("::1:6379", r"is no address of a Ray cluster \(IPv6 needs brackets, such as \[::1\]:6379\)"),
        ("head", "is no address of a Ray cluster; try RAY_ADDRESS=auto, host:6379 or ray://host:10001, or unset it"),
        ("127.0.0.1:1", r"no Ray cluster answers there .* or unset RAY_ADDRESS to train on this machine alone"),
        ("[::1]:1", "no Ray cluster answers there"),
        ("no-such-host.invalid:6379", "no Ray cluster answers there"),
        ("ray://no-such-host.invalid:10001", "no Ray cluster answers there"),
    ],
)
def test_unusable_address_in_the_environment_is_named_as_such(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"^RAY_ADDRESS={re.escape(address)}: {reason}"), ray_cluster.connect(CONFIG):
        pass


@pytest.mark.parametrize("address", ["", " ", "local"])
def test_environment_without_a_cluster_gives_a_private_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray_cluster.cluster_in_environment() == ""


def test_private_cluster_asks_no_other_clusters_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that the user has named: it does not know the driver, which Ray Train would consider dead."""
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:8265")
    with ray_cluster._environment({}, ray_cluster.PRIVATE_ENVIRONMENT):
        assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:9"
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://elsewhere:8265"


def test_environment_is_restored_and_keeps_the_users_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "7")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    before = dict(os.environ)
    with ray_cluster._environment(ray_cluster.ENVIRONMENT, {}):
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "7"
    assert dict(os.environ) == before


def test_private_clusters_token_is_in_its_folder_and_no_variable_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    before = dict(os.environ)

    def start(config: ClusterConfig, folder: Path) -> None:
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.parent == folder and token.stat().st_mode & 0o777 == 0o600 and len(token.read_text()) == 64
        assert not {"RAY_AUTH_TOKEN", "RAY_AUTH_MODE"} & set(os.environ)
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray does so

    monkeypatch.setattr(ray_cluster, "_start", start)
    with ray_cluster.connect(CONFIG) as folder:
        pass
    assert dict(os.environ) == before and not folder.exists()


@pytest.mark.slow
def test_private_cluster_answers_nobody_without_its_token(tmp_path: Path) -> None:
    """Every port of the cluster is tried over HTTP, and Ray's own by a driver that has no token."""
    code = """
import os, socket, subprocess, sys, urllib.error, urllib.request
import psutil
from tests.pipelines.cluster.test_ray_cluster import CONFIG
from pipelines.cluster import ray_cluster
with ray_cluster.connect(CONFIG):
    import ray
    gcs = ray.get_runtime_context().gcs_address
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    stranger = f"import ray; ray.init(address={gcs!r}); print('inside')"
    command = [sys.executable, "-c", stranger]
    answer = subprocess.run(command, env={**variables, "RAY_AUTH_MODE": "disabled"}, capture_output=True, text=True)
    assert answer.returncode and "inside" not in answer.stdout and "Unauthenticated" in answer.stderr, answer.stderr
    for connection in psutil.net_connections("tcp"):
        if connection.status == "LISTEN" and connection.laddr.port == 52365:
            try:
                status = urllib.request.urlopen(f"http://{connection.laddr.ip}:52365/api/job_agent/jobs/", b"{}", 5).status
            except urllib.error.HTTPError as error:
                status = error.code
            assert status == 401, (connection, status)
"""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**variables, "HOME": str(tmp_path)}, timeout=240, check=False
    )
    assert done.returncode == 0
    assert not (tmp_path / ".ray").exists()  # a token there would switch login on for later clusters


def test_config_is_importable_without_ray_and_torch() -> None:
    code = "import sys, pipelines.cluster.ray_cluster; sys.exit(bool({'ray', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sigterm_handler_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ray.init`` installs a handler that would end a preempted training without a message."""

    def own(signum: int, frame: object) -> None: ...

    def start(*arguments: object) -> None:
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(signum))

    monkeypatch.setattr(ray_cluster, "_start", start)
    before = signal.signal(signal.SIGTERM, own)
    try:
        with ray_cluster.connect(CONFIG):
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
