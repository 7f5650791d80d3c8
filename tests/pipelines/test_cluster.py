"""The Ray section of params.yaml, and what starting a private cluster leaves behind (nothing)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from digan.errors import UserError
from pipelines.services import cluster
from pipelines.services.cluster import ClusterConfig

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
def test_an_impossible_value_is_named(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^cluster.{key}={value}: "):
        replace(CONFIG, **{key: value})


@pytest.mark.parametrize("address", ["", "auto", "127.0.0.1:6379", "ray://head.example:10001"])
def test_addresses_of_clusters_pass(address: str) -> None:
    assert replace(CONFIG, address=address).address == address


def test_resources_name_gpus_only_where_there_are_some() -> None:
    assert CONFIG.resources_per_worker == {"CPU": 1.0}
    with_gpu = replace(CONFIG, gpus_per_worker=1)
    assert with_gpu.resources_per_worker == {"CPU": 1.0, "GPU": 1.0}
    assert (CONFIG.backend, with_gpu.backend) == ("gloo", "nccl")


def test_a_cpu_worker_starts_with_one_heap_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert CONFIG.worker_environment == {"MALLOC_ARENA_MAX": "1"}
    assert replace(CONFIG, gpus_per_worker=1).worker_environment == {}
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert CONFIG.worker_environment == {"MALLOC_ARENA_MAX": "4"}


def test_what_can_never_be_placed_is_refused_with_a_number_that_fits() -> None:
    with pytest.raises(
        UserError, match=r"^cluster.workers=4: .* needs 4 GPUs, and the cluster has 2; try cluster.workers=2$"
    ):
        cluster._check_capacity(replace(CONFIG, workers=4, gpus_per_worker=1), {"CPU": 64, "GPU": 2}, "the cluster")


@pytest.mark.parametrize(
    ("private", "left_out"),
    [(True, {"DatasetsCallback", "PlacementGroupCleanerCallback"}), (False, {"DatasetsCallback"})],
)
def test_helpers_that_no_training_uses_are_not_started(private: bool, left_out: set[str]) -> None:
    from ray.train.torch import TorchTrainer

    from pipelines.services.trainer import LeanTrainer

    usual = TorchTrainer(print)._create_default_callbacks()
    lean = LeanTrainer(print, private=private)._create_default_callbacks()
    assert {type(each).__name__ for each in usual} - {type(each).__name__ for each in lean} == left_out
    assert len(usual) - len(lean) == len(left_out) - private  # a private one has a callback more, that ends the barrier


def test_the_barrier_ends_as_soon_as_workers_train(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from pipelines.services.trainer import LeanTrainer

    killed: list[object] = []
    monkeypatch.setattr(ray, "kill", killed.append)
    (own,) = [
        each
        for each in LeanTrainer(print, private=True)._create_default_callbacks()
        if type(each).__name__ == "NoBarrierCallback"
    ]
    own.after_worker_group_training_start(
        SimpleNamespace(get_worker_group_state=lambda: SimpleNamespace(sync_actor="barrier"))
    )
    assert killed == ["barrier"]


def test_a_private_cluster_starts_without_processes_that_serve_others() -> None:
    from ray._private.node import Node

    usual = [getattr(Node, name) for name in cluster.HELPERS]  # a later Ray that calls them otherwise fails here
    with cluster.without_helpers():
        for name in cluster.HELPERS:
            assert getattr(Node, name)(None) is None
    assert [getattr(Node, name) for name in cluster.HELPERS] == usual


@pytest.mark.parametrize("early", [True, False])
def test_a_controller_ends_when_it_is_told_to_though_it_was_told_before_it_began(early: bool) -> None:
    from pipelines.services.trainer import LeanTrainer

    trainer, begun = LeanTrainer(print, private=True), threading.Event()

    class Controller:
        async def run(self) -> None:
            begun.set()
            await asyncio.sleep(60)

    async def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            await trainer._run(Controller())
        trainer._ended.set()

    if early:
        trainer.stop()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    if not early:
        assert begun.wait(30)
        trainer.stop()
    thread.join(30)
    assert not thread.is_alive() and trainer._ended.is_set()


def test_a_lone_worker_has_no_process_group() -> None:
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig

    from pipelines.services.trainer import LoneConfig

    assert LoneConfig(backend="gloo", timeout_s=5).backend_cls is Backend is not TorchConfig().backend_cls
    assert LoneConfig().train_func_context is TorchConfig().train_func_context


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("actor", ["a1", None])
def test_the_controller_runs_here_where_it_may_and_asks_for_no_machines_where_none_can_come(
    monkeypatch: pytest.MonkeyPatch, actor: str | None, private: bool
) -> None:
    import ray
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.execution import controller
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy, ResizeDecision

    from pipelines.services.trainer import LeanTrainer

    class Controller:
        def __init__(self, **options: Any) -> None:
            self.result = {"place": "here", **options}

        async def run(self) -> None:
            self.result["ran"] = True
            if not actor:  # what Ray Train hands to workers
                assert ray.runtime_context._runtime_context.current_actor is None

        def get_result(self) -> dict[str, Any]:
            return self.result

    monkeypatch.setattr(controller, "TrainController", Controller)
    monkeypatch.setattr(TorchTrainer, "_initialize_and_run_controller", lambda self, **options: options)
    context = SimpleNamespace(get_actor_id=lambda: actor, worker="a driver")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    scaling = ScalingConfig(num_workers=3)
    trainer = LeanTrainer(print, private=private, scaling_config=scaling)
    found = trainer._initialize_and_run_controller(scaling_policy=FixedScalingPolicy(scaling), other=2)
    policy = found.pop("scaling_policy")
    assert found == ({"place": "here", "ran": True, "other": 2} if actor or private else {"other": 2})
    assert (type(policy) is FixedScalingPolicy) is not private
    if private:  # it goes through a whole run with no cluster at all
        policy.after_controller_start(SimpleNamespace(run_id="x"))
        decision = policy.make_decision_for_non_running_worker_group()
        assert isinstance(decision, ResizeDecision) and decision.num_workers == 3
        asyncio.run(policy.before_controller_shutdown())


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    with (
        pytest.raises(UserError, match=r"^cluster.address=127.0.0.1:1: no Ray cluster answers there"),
        cluster.connect(replace(CONFIG, address="127.0.0.1:1")),
    ):
        pass


def test_the_environment_is_as_before_and_the_users_values_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "7")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    before = dict(os.environ)
    with cluster._environment(cluster.ENVIRONMENT):
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "7"
    assert dict(os.environ) == before


def test_a_scratch_folder_goes_and_takes_those_of_killed_drivers_along(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = Path("/tmp") / f"{cluster.SOCKET_FOLDER}{dead.pid}-test"
    old.mkdir()
    with cluster._scratch() as mine:
        assert mine.is_dir() and not old.exists()
        with cluster._scratch() as other:
            assert other != mine and mine.is_dir()
    assert not mine.exists()


def test_the_config_is_there_without_ray() -> None:
    code = "import sys, pipelines.services.cluster; sys.exit(bool({'ray', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sigterm_stays_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sets a handler of its own while it starts, which would end a preempted training without a word."""

    def own(signum: int, frame: object) -> None: ...

    def start(*arguments: object) -> None:
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(signum))

    monkeypatch.setattr(cluster, "_start", start)
    before = signal.signal(signal.SIGTERM, own)
    try:
        with cluster.connect(CONFIG):
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("address", "variable", "alive", "private"),
    [
        ("", "", [True], True),
        ("", "", [True, False], True),
        ("", "", [True, True], False),
        ("auto", "", [True], False),
        ("", "127.0.0.1:6379", [True], False),
    ],
)
def test_a_cluster_is_private_where_nobody_named_it_and_it_has_one_node(
    monkeypatch: pytest.MonkeyPatch, address: str, variable: str, alive: list[bool], private: bool
) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", variable)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": each} for each in alive])
    assert cluster.is_private(replace(CONFIG, address=address)) is private
