"""A training worker: builds its loader, runs the training loop and sends messages to the driver. Ray sets up the process group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypedDict

import torch

from digan import generator_io
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.training import loop, start_weights
from digan.training.config import TrainingConfig
from digan.training.run_spec import TrainingHooks, TrainingPlacement, TrainingProgress, TrainingSpec
from digan.training.state import initial_generator
from digan.training.step import micro_batch_indices
from digan.types import FramePair
from pipelines import log_setup
from pipelines.cluster.system_metrics import system_metrics
from pipelines.cluster.worker_failure import failure_of
from pipelines.dataset.loader import LoaderConfig, PairLoader
from pipelines.storage import file_io
from pipelines.training_run import worker_messages
from pipelines.training_run.checkpoint_store import store_at

DELIVERY_TIMEOUT = 5.0  # seconds that a failing worker waits until its message has arrived
DECISION_TIMEOUT = 300.0  # seconds that rank 0 waits at a measured checkpoint; its peers give up on it after 600
TrialObjective = Callable[[int, VideoGenerator], dict[str, float]]  # (clips seen, generator EMA) -> values by name


class WorkerConfig(TypedDict):
    """``shards`` and ``output`` are folders that every worker reaches, or s3:// addresses; ``threads`` are torch's on a CPU;
    ``environment`` has the variables for S3, ``classes`` the classes' names. ``objective`` is called at every checkpoint of
    a trial."""

    training: TrainingConfig
    model: NetworkConfig
    classes: tuple[str, ...]
    shards: str
    output: str
    threads: int
    environment: dict[str, str]
    messages: worker_messages.WorkerMessages
    objective: TrialObjective | None


def train_worker(config: WorkerConfig) -> None:
    """Called once in each worker by Ray Train. Errors are sent to the driver before they are raised."""
    import ray.train.torch
    import ray.util

    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    try:
        if rank == 0:
            group = ray.util.get_current_placement_group()
            config["messages"].send(worker_messages.WorkerStarted(workers=world_size, placement=group))
        _train(config, rank, world_size, ray.train.torch.get_device())
    except Exception as error:
        config["messages"].send(failure_of(error, rank), wait=DELIVERY_TIMEOUT)
        raise


def _train(config: WorkerConfig, rank: int, world_size: int, device: torch.device) -> None:
    log_setup.configure(rank=rank)
    torch.set_num_threads(config["threads"])
    for name, value in config["environment"].items():
        os.environ.setdefault(name, value)
    training, model, classes = config["training"], config["model"], config["classes"]
    output = store_at(config["output"])

    def reader(update: int, seed: int) -> Iterator[list[FramePair]]:
        flip, labeled = training.horizontal_flip, model.classes > 0
        loading = LoaderConfig(seed=seed, batch_size=training.micro_batch, horizontal_flip=flip, labeled=labeled)
        mine, count = micro_batch_indices(rank, world_size, training.micro_batches), training.micro_batches
        return PairLoader(config["shards"], loading, reader_indices=mine, num_readers=count, start_batch=update)

    if rank == 0 and "initial_generator" not in output.names():
        untrained = initial_generator(training, model)
        output.write("initial_generator", generator_io.generator_files(untrained, classes))
    start = start_weights.read(output) if training.start_from else None
    spec = TrainingSpec(training=training, model=model, reader=reader, classes=classes, start=start)
    stores = {name: store_at(file_io.join(config["output"], name)) for name in ("checkpoints", "snapshots")}
    placement = TrainingPlacement(rank=rank, world_size=world_size, device=device, **stores)
    generator = loop.train(spec, placement, _hooks(config, rank))
    if rank == 0:
        output.write("generator", generator_io.generator_files(generator, classes))


def _hooks(config: WorkerConfig, rank: int) -> TrainingHooks:
    """The loop's hooks: rank 0 sends messages to the driver."""
    messages, objective = config["messages"], config["objective"]

    def on_progress(progress: TrainingProgress) -> None:
        if rank == 0:
            metrics = {**progress.metrics, "waiting": progress.waiting, **system_metrics()}
            messages.send(replace(progress, metrics=metrics))

    def on_samples(clips_seen: int, videos_btchw: torch.Tensor) -> None:
        messages.send(worker_messages.SampleVideos(clips_seen=clips_seen, videos=videos_btchw.cpu().numpy()))

    def on_checkpoint(clips_seen: int, generator: VideoGenerator) -> None:
        assert objective is not None
        messages.send(worker_messages.TrialMeasured(clips_seen=clips_seen, values=objective(clips_seen, generator)))
        messages.wait_for(clips_seen, timeout=DECISION_TIMEOUT)

    return TrainingHooks(
        on_progress=on_progress,
        on_samples=on_samples,
        on_notice=lambda text: messages.send(worker_messages.UserNotice(text=text)),
        on_checkpoint=on_checkpoint if objective is not None else None,
    )
