"""The worker group of one training: Ray Train's trainer, and the loop that runs it and follows the workers' messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.cluster.train_worker import WorkerConfig, train_worker
from pipelines.training_run.worker_messages import Message, TrialMeasured, WorkerMessages

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

POLL_INTERVAL = 0.5  # seconds between two requests for the workers' messages
COLLECTIVE_TIMEOUT = 600  # seconds after which a worker gives up a collective operation with silent peers


def torch_trainer(
    cluster: ClusterConfig, worker_config: WorkerConfig, scratch: Path, name: str, gpu_share: float
) -> TorchTrainer:
    """Ray Train's trainer for ``train_worker``; ``scratch`` takes what Ray itself writes about the run ``name``.

    ``gpu_share`` is the part of a GPU that a worker gets.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = cluster.resources_per_worker
    if "GPU" in resources:
        resources["GPU"] *= gpu_share
    return TorchTrainer(
        train_worker,
        train_loop_config=worker_config,
        scaling_config=ScalingConfig(
            num_workers=(cluster.min_workers, cluster.workers) if cluster.elastic else cluster.workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            worker_runtime_env={"env_vars": cluster.worker_environment},
        ),
        torch_config=TorchConfig(backend=cluster.backend, timeout_s=COLLECTIVE_TIMEOUT),
    )


def run_until_done(fit: Callable[[], object], messages: WorkerMessages, handle: Callable[[Message], None]) -> None:
    """Run ``fit`` in a thread and pass the workers' messages to ``handle`` until it ends; its error is raised here.

    An error of ``handle`` ends the loop at once. The thread that it leaves behind ends with the connection to Ray.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ray-train", daemon=True)
    thread.start()
    alive = True
    while alive:
        thread.join(POLL_INTERVAL)
        alive = thread.is_alive()  # read before the messages, so that the last ones are not missed
        for message in messages.take():
            handle(message)
            if isinstance(message, TrialMeasured):
                messages.allow(message.clips_seen)
    if errors:
        raise errors[0]
