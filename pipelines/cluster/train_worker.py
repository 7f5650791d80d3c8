"""What one training worker does: build its loader, run the loop, send messages to the driver. Ray sets up the process group."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

from pipelines.cluster.system_metrics import SystemMetrics
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

LAST_WORDS = 5.0  # seconds that a dying worker waits for its message to arrive
VERDICT = 300.0  # seconds that rank 0 waits at a measured checkpoint; its peers give up on it after 600


class WorkerConfig(TypedDict):
    """A worker's configuration; it reads no params.yaml and may run on another machine than the driver.

    ``training`` and ``model`` are the fields of ``TrainingConfig`` and ``ModelConfig``; ``shards`` and ``output`` are
    folders that every worker reaches or s3:// addresses; ``threads`` are torch's on a CPU; ``environment`` leads to S3.
    ``objective`` measures the averaged generator at every checkpoint of a trial (clips seen, generator -> values by
    name); ``None`` in a plain training.
    """

    training: dict[str, Any]
    model: dict[str, Any]
    shards: str
    output: str
    threads: int
    environment: dict[str, str]
    channel: WorkerMessages
    objective: Callable[[int, VideoGenerator], dict[str, float]] | None


def train_worker(config: WorkerConfig) -> None:
    """Ray Train calls this once in each worker. Errors are sent to the driver before they are raised."""
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    try:
        _train(config, rank, ray.train.get_context().get_world_size())
    except Exception as error:
        config["channel"].send(fault_of(error, rank), wait=LAST_WORDS)
        raise


def fault_of(error: Exception, rank: int) -> WorkerFailed:
    """The kind of an error. A restart helps after a lost peer, device or connection, not after a user error or a bug."""
    from digan.errors import UserError
    from pipelines.exit_status import remedy_of

    if isinstance(error, UserError):
        return WorkerFailed(kind="mistake", rank=rank, text=str(error))
    if isinstance(error, OSError) and (remedy := remedy_of(error)) is not None:
        return WorkerFailed(
            kind="mistake", rank=rank, text=f"{error.filename or error.filename2 or 'output'}: {remedy}"
        )
    if isinstance(error, RuntimeError | OSError | MemoryError):
        lines = str(error).strip().splitlines()
        return WorkerFailed(
            kind="loss", rank=rank, text=f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        )
    return WorkerFailed(kind="bug", rank=rank, text="".join(traceback.format_exception(error)))


def _train(config: WorkerConfig, rank: int, world: int) -> None:
    import ray.train.torch
    import ray.util
    import torch

    from digan import generator_io
    from digan.models.config import NetworkConfig
    from digan.training import loop, state, step
    from digan.training.config import TrainingConfig
    from pipelines import log_setup
    from pipelines.dataset.loader import LoaderConfig, PairLoader
    from pipelines.storage import file_io
    from pipelines.training_run.checkpoint_store import store_at

    log_setup.configure(rank=rank)
    torch.set_num_threads(config["threads"])
    training, model = TrainingConfig(**config["training"]), NetworkConfig(**config["model"])
    for name, value in config["environment"].items():
        os.environ.setdefault(name, value)
    home = store_at(config["output"])

    def reader(update: int, seed: int) -> Iterator[list[FramePair]]:
        return PairLoader(
            config["shards"],
            LoaderConfig(
                seed=seed,
                batch_size=training.micro_batch,
                horizontal_flip=training.horizontal_flip,
                labelled=model.classes > 0,
            ),
            reader_indices=step.micro_batch_indices(rank, world, training.micro_batches),
            num_readers=training.micro_batches,
            start_batch=update,
        )

    if rank == 0:
        config["channel"].send(WorkerStarted(workers=world, placement=ray.util.get_current_placement_group()))
        if "initial_generator" not in home.names():
            files = generator_io.generator_files(state.initial_generator(training, model))
            home.write("initial_generator", files)
    generator = loop.train(
        loop.TrainingSpec(training=training, model=model, reader=reader),
        loop.TrainingPlacement(
            rank=rank,
            world_size=world,
            device=ray.train.torch.get_device(),
            checkpoints=store_at(file_io.join(config["output"], "checkpoints")),
            snapshots=store_at(file_io.join(config["output"], "snapshots")),
        ),
        _hooks(config, rank),
    )
    if rank == 0:
        home.write("generator", generator_io.generator_files(generator))


def _hooks(config: WorkerConfig, rank: int) -> TrainingHooks:
    """What the loop calls: rank 0 sends messages to the driver."""
    from digan.training.run_spec import TrainingHooks

    channel, objective, usage = config["channel"], config["objective"], SystemMetrics()

    def on_progress(progress: TrainingProgress) -> None:
        if rank == 0:
            values = asdict(progress)
            own = {"waiting": values.pop("waiting"), **usage.now()}
            channel.send(ProgressReport(**{**values, "metrics": {**values["metrics"], **own}}))

    def on_samples(clips_seen: int, videos_btchw: torch.Tensor) -> None:
        channel.send(SampleVideos(clips_seen=clips_seen, videos=videos_btchw.cpu().numpy()))

    def on_checkpoint(clips_seen: int, average: VideoGenerator) -> None:
        assert objective is not None
        channel.send(TrialMeasured(clips_seen=clips_seen, values=objective(clips_seen, average)))
        channel.wait_for(clips_seen, patience=VERDICT)

    return TrainingHooks(
        on_progress=on_progress,
        on_samples=on_samples,
        on_notice=lambda text: channel.send(UserNotice(text=text)),
        on_checkpoint=on_checkpoint if objective is not None else None,
    )
