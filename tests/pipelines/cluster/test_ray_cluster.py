"""The section `cluster` of params.yaml, and the connection to Ray, which cleans up after itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("address", ["", "auto", "127.0.0.1:6379", "ray://head.example:10001"])
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


def test_temporary_folder_is_removed_with_those_of_killed_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = Path("/tmp") / f"{ray_cluster.FOLDER_PREFIX}{dead.pid}-test"
    old.mkdir()
    with ray_cluster._temporary_folder() as mine:
        assert mine.is_dir() and not old.exists()
        with ray_cluster._temporary_folder() as other:
            assert other != mine and mine.is_dir()
    assert not mine.exists()


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
