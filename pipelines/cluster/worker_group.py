"""The worker group of one training: Ray Train's trainer, and the loop that runs it and handles the workers' messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
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
    cluster: ClusterConfig, worker_config: WorkerConfig, folder: Path, name: str, gpu_share: float
) -> TorchTrainer:
    """Ray Train's trainer for ``train_worker``, with ``gpu_share`` of a GPU for each worker.

    Ray's own files about the run ``name`` go to ``folder``.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources, on_gpu = cluster.resources_per_worker, cluster.gpus_per_worker > 0
    if on_gpu:
        resources["GPU"] *= gpu_share
    return TorchTrainer(
        train_worker,
        train_loop_config=worker_config,
        scaling_config=ScalingConfig(
            num_workers=(cluster.min_workers, cluster.workers) if cluster.elastic else cluster.workers,
            use_gpu=on_gpu,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            worker_runtime_env={"env_vars": cluster.worker_environment},
        ),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo", timeout_s=COLLECTIVE_TIMEOUT),
    )


def run_until_done(fit: Callable[[], object], messages: WorkerMessages, handle: Callable[[Message], None]) -> None:
    """Run ``fit`` in a thread and pass the workers' messages to ``handle`` until it returns; its error is raised here.

    An error of ``handle`` ends the loop at once; the abandoned thread ends with the connection to Ray.
    """
    training: Future[object] = Future()

    def run() -> None:
        try:
            training.set_result(fit())
        except BaseException as error:
            training.set_exception(error)

    threading.Thread(target=run, name="ray-train", daemon=True).start()
    done = False
    while not done:
        done = bool(wait([training], POLL_INTERVAL).done)  # checked before the messages, so that no last one is missed
        for message in messages.take():
            handle(message)
            if isinstance(message, TrialMeasured):
                messages.allow(message.clips_seen)
    training.result()
