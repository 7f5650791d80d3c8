"""A training worker: builds its loader, runs the training loop and sends messages to the driver. Ray sets up the process group."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from digan.errors import UserError
from digan.models.config import NetworkConfig
from digan.training.config import TrainingConfig
from pipelines.cluster.system_metrics import SystemMetrics
from pipelines.exit_status import remedy_of
from pipelines.training_run.worker_messages import (
    ProgressReport,
    SampleVideos,
    TrialMeasured,
    UserNotice,
    WorkerFailed,
    WorkerMessages,
    WorkerStarted,
)

if TYPE_CHECKING:
    import torch

    from digan.models.generator import VideoGenerator
    from digan.training.run_spec import TrainingHooks, TrainingProgress
    from digan.types import FramePair

DELIVERY_TIMEOUT = 5.0  # seconds that a failing worker waits until its message has arrived
DECISION_TIMEOUT = 300.0  # seconds that rank 0 waits at a measured checkpoint; its peers give up on it after 600


class WorkerConfig(TypedDict):
    """A worker's configuration; it reads no params.yaml and may run on another machine than the driver.

    ``shards`` and ``output`` are folders that every worker reaches or s3:// addresses; ``threads`` are torch's on a CPU;
    ``environment`` has the variables for S3. ``objective`` measures the generator EMA at every checkpoint of a trial
    (clips seen, generator -> values by name); ``None`` in a plain training.
    """

    training: TrainingConfig
    model: NetworkConfig
    shards: str
    output: str
    threads: int
    environment: dict[str, str]
    messages: WorkerMessages
    objective: Callable[[int, VideoGenerator], dict[str, float]] | None


def train_worker(config: WorkerConfig) -> None:
    """Called once in each worker by Ray Train. Errors are sent to the driver before they are raised."""
    import ray.train

    context = ray.train.get_context()
    rank = context.get_world_rank()
    try:
        _train(config, rank, context.get_world_size())
    except Exception as error:
        config["messages"].send(failure_of(error, rank), wait=DELIVERY_TIMEOUT)
        raise


def failure_of(error: Exception, rank: int) -> WorkerFailed:
    """Classify an error: a restart helps after a lost peer, device or connection, not after a user error or a bug."""
    if isinstance(error, UserError):
        kind, text = "mistake", str(error)
    elif isinstance(error, OSError) and (remedy := remedy_of(error)) is not None:
        kind, text = "mistake", f"{error.filename or error.filename2 or 'output'}: {remedy}"
    elif isinstance(error, RuntimeError | OSError | MemoryError):
        kind, text = "loss", f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
    else:
        kind, text = "bug", "".join(traceback.format_exception(error))
    return WorkerFailed(kind=kind, rank=rank, text=text)


def _train(config: WorkerConfig, rank: int, world_size: int) -> None:
    import ray.train.torch
    import ray.util
    import torch

    from digan import generator_io
    from digan.training import loop, state, step
    from pipelines import log_setup
    from pipelines.dataset.loader import LoaderConfig, PairLoader
    from pipelines.storage import file_io
    from pipelines.training_run.checkpoint_store import store_at

    log_setup.configure(rank=rank)
    torch.set_num_threads(config["threads"])
    for name, value in config["environment"].items():
        os.environ.setdefault(name, value)
    training, model, output = config["training"], config["model"], store_at(config["output"])

    def reader(update: int, seed: int) -> Iterator[list[FramePair]]:
        return PairLoader(
            config["shards"],
            LoaderConfig(
                seed=seed,
                batch_size=training.micro_batch,
                horizontal_flip=training.horizontal_flip,
                labelled=model.classes > 0,
            ),
            reader_indices=step.micro_batch_indices(rank, world_size, training.micro_batches),
            num_readers=training.micro_batches,
            start_batch=update,
        )

    if rank == 0:
        config["messages"].send(WorkerStarted(workers=world_size, placement=ray.util.get_current_placement_group()))
        if "initial_generator" not in output.names():
            untrained = state.initial_generator(training, model)
            output.write("initial_generator", generator_io.generator_files(untrained))
    generator = loop.train(
        loop.TrainingSpec(training=training, model=model, reader=reader),
        loop.TrainingPlacement(
            rank=rank,
            world_size=world_size,
            device=ray.train.torch.get_device(),
            checkpoints=store_at(file_io.join(config["output"], "checkpoints")),
            snapshots=store_at(file_io.join(config["output"], "snapshots")),
        ),
        _hooks(config, rank),
    )
    if rank == 0:
        output.write("generator", generator_io.generator_files(generator))


def _hooks(config: WorkerConfig, rank: int) -> TrainingHooks:
    """The loop's hooks: rank 0 sends messages to the driver."""
    from digan.training.run_spec import TrainingHooks

    messages, objective, system = config["messages"], config["objective"], SystemMetrics()

    def on_progress(progress: TrainingProgress) -> None:
        if rank == 0:
            values = asdict(progress)
            metrics = {**values.pop("metrics"), "waiting": values.pop("waiting"), **system.now()}
            messages.send(ProgressReport(**values, metrics=metrics))

    def on_samples(clips_seen: int, videos_btchw: torch.Tensor) -> None:
        messages.send(SampleVideos(clips_seen=clips_seen, videos=videos_btchw.cpu().numpy()))

    def on_checkpoint(clips_seen: int, generator: VideoGenerator) -> None:
        assert objective is not None
        messages.send(TrialMeasured(clips_seen=clips_seen, values=objective(clips_seen, generator)))
        messages.wait_for(clips_seen, timeout=DECISION_TIMEOUT)

    return TrainingHooks(
        on_progress=on_progress,
        on_samples=on_samples,
        on_notice=lambda text: messages.send(UserNotice(text=text)),
        on_checkpoint=on_checkpoint if objective is not None else None,
    )
