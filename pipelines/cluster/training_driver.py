"""The driver of one training: prepares shards, folder and MLflow run, starts the workers and handles their messages.

The driver alone writes to its folder and MLflow. After an interruption the same call resumes from the latest checkpoint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from digan.atomic import write_csv, write_json
from digan.data.clips import ClipsConfig
from digan.errors import UserError
from digan.redaction import redacted
from digan.training.config import TrainingConfig
from digan.training.running_metrics import TrainingProgress
from pipelines.cluster import preflight
from pipelines.cluster.ray_cluster import ClusterConfig, connect, job_folder
from pipelines.cluster.train_worker import TrialObjective, WorkerConfig, train_worker
from pipelines.dataset import shard_index
from pipelines.report.progress_display import ProgressDisplay, training_text
from pipelines.report.text_format import duration, grouped
from pipelines.sources.made_with import check_made_with
from pipelines.storage import file_io
from pipelines.tracking import run_contents, runs
from pipelines.training_run import run_fingerprint, run_sync, worker_messages
from pipelines.training_run.provenance import run_tags
from pipelines.training_run.run_fingerprint import INDEX, ResumeDecision, RunFingerprint
from pipelines.training_run.run_start import LoadStart, RunStart, no_start
from pipelines.training_run.training_log import LOG, TrainingLog, curves, repair_log

FORMAT = 1
CURVES = "curves.csv"
POLL_INTERVAL = 0.5  # seconds between two requests for the workers' messages
COLLECTIVE_TIMEOUT = 600  # seconds after which a worker gives up a collective operation with silent peers


class TrainingSections(Protocol):
    """The sections of params.yaml that a training uses."""

    @property
    def clips(self) -> ClipsConfig: ...
    @property
    def model(self) -> Any: ...
    @property
    def training(self) -> TrainingConfig: ...
    @property
    def cluster(self) -> ClusterConfig: ...
    @property
    def tracking(self) -> runs.TrackingConfig: ...
    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the values by section and key."""


@dataclass(frozen=True, kw_only=True)
class TrialHooks:
    """Hooks that make a training a trial of a sweep, which is measured at each checkpoint and waits there for permission.

    ``objective`` runs in rank 0's process, the others in the driver, where an exception ends the training. ``gpu_share`` is
    for each worker; ``run_file`` names the MLflow run."""

    objective: TrialObjective
    on_started: Callable[[worker_messages.WorkerStarted], object]
    on_measured: Callable[[worker_messages.TrialMeasured], None]
    gpu_share: float
    run_file: Path


class TrainingAbortedError(Exception):
    """The training ended with an error that restarting the workers cannot repair; the text has the worker's traceback."""


def train(
    params: TrainingSections,
    *,
    shards: Path,
    output: Path,
    trial: TrialHooks | None = None,
    start: LoadStart = no_start,
) -> None:
    """Train on ``shards`` and write the results to ``output``; return at once if they are already complete. ``start`` loads the
    weights at ``training.start_from``. With ``cluster.storage`` shards and checkpoints are on S3, except those of a sweep's trials.
    Errors: ``UserError`` for a user's mistake, here or in a worker; ``TrainingAbortedError`` for other failures of workers."""
    cluster, tracking, output = params.cluster, runs.resolved(params.tracking), output.absolute()
    storage = "" if trial else cluster.storage
    index, address = run_sync.open_shards(params.clips, shards, storage)
    check_made_with(index, params.as_dict())
    model = params.model.config(resolution=index.resolution, classes=len(index.classes))
    configs, code = {"training": asdict(params.training), "model": asdict(model)}, run_fingerprint.code_digest()
    fingerprint = RunFingerprint(**configs, data=index.digest, code=code, workers=cluster.workers)
    display = ProgressDisplay("train", interval=10.0)
    with run_fingerprint.sole_writer(output):
        if storage:
            run_sync.pull(storage, output)
        seen = int(repair_log(output / LOG).get("clips_seen", 0))
        decision = run_fingerprint.decide(output, fingerprint, clips_seen=seen)
        if decision.kind == "finished":
            display.message(f"{output} already holds this run, {grouped(seen)} clips; nothing to do")
            return
        if storage and decision.kind == "replace":
            reason = "; ".join(decision.notes)
            raise UserError(f"cluster.storage={storage}: holds another run ({reason}); choose another prefix")
        started = RunStart(params.training.start_from, storage or str(output), resumes=decision.kind == "resume")
        started.fetch(start, tracking, model, index.classes)
        runs.client(tracking)  # a store that cannot be used is refused before Ray starts
        with connect(cluster) as ray_folder:
            preflight.check_driver(tracking.uri, storage, output, job_folder())
            if storage:
                address = run_sync.publish_shards(address, storage, display.message)
            shards_index = {f"the shards at {address}": file_io.join(address, shard_index.INDEX)}
            preflight.check_nodes(shards_index, storage or str(output), code)
            _prepare_folder(decision, output, display, seen)
            started.keep(display.message)
            run_fingerprint.write_origin(output, fingerprint)
            run_file = trial.run_file if trial else output / "run.json"
            settings = {name: section for name, section in params.as_dict().items() if name != "tune"}
            run_id = runs.open_run(tracking, settings, run_tags("train", index.digest), run_file)
            run_contents.log_contents(
                tracking,
                run_id,
                dataset=tracked_dataset(index, "training"),
                description=_description(index, params.training, cluster),
                params=settings,
            )
            with run_sync.uploading(output, storage, display.message) if storage else nullcontext():
                track, client = partial(runs.log_metrics, tracking, run_id), runs.client(tracking)
                log = TrainingLog(output, track, lambda path: client.log_artifact(run_id, str(path), "samples"))
                with runs.status_at_end(tracking, run_id), closing(log), closing(display):
                    worker_config = WorkerConfig(
                        training=params.training,
                        model=model,
                        classes=index.classes,
                        shards=address,
                        output=storage or str(output),
                        threads=cluster.cpus_per_worker,
                        environment=preflight.environment(),
                        messages=worker_messages.WorkerMessages(),
                        objective=trial.objective if trial else None,
                    )
                    name, gpu_share = f"digan-{run_id[:8]}-{time.time_ns()}", trial.gpu_share if trial else 1.0
                    fit = partial(_fit, cluster, worker_config, folder=ray_folder, name=name, gpu_share=gpu_share)
                    _run(fit, worker_config["messages"], MessageHandler(log, display, cluster.max_failures, trial))
                if storage:
                    run_sync.fetch(storage, output)
                _write_index(output, fingerprint, log, run_id, cluster)
        clips, seconds = grouped(log.clips_seen), duration(log.seconds)
        display.message(f"{clips} clips in {seconds}; generator in {output / 'generator'}")


def tracked_dataset(index: shard_index.ShardIndex, context: str) -> run_contents.TrackedDataset:
    """Return the shards as MLflow records them; ``context`` is what the run does with them."""
    profile = {
        "splits": index.counts,
        "resolution": index.resolution,
        "frames": index.frames,
        "classes": len(index.classes),
    }
    name, digest, address = str(index.source.get("name") or "shards"), index.digest, index.address
    return run_contents.TrackedDataset(name=name, digest=digest, address=address, profile=profile, context=context)


def _description(index: shard_index.ShardIndex, training: TrainingConfig, cluster: ClusterConfig) -> str:
    """Return the description of the run, in Markdown."""
    data = f"{index.source.get('name') or 'shards'} at {index.resolution}x{index.resolution}, {index.frames} frames"
    classes = f", {len(index.classes)} classes" if index.classes else ""
    size = f"{grouped(training.clips)} clips in batches of {training.batch_size} on {cluster.workers} workers"
    return f"DIGAN trained on {data}{classes}: {size}. Curves are over clips seen."


def _prepare_folder(decision: ResumeDecision, output: Path, display: ProgressDisplay, seen: int) -> None:
    """Make the output folder ready for the run and display the decision."""
    if decision.kind == "replace":
        previous = run_fingerprint.move_aside(output)
        kept = f"; it is now {previous.name}" if previous else ""
        display.message(f"starting over: {output} holds another run ({'; '.join(decision.notes)}){kept}")
    elif decision.kind == "resume":
        for note in decision.notes:
            display.message(note)
        if seen:
            display.message(f"resuming from the latest checkpoint (log ends at {grouped(seen)} clips)")
    output.mkdir(parents=True, exist_ok=True)
    (output / INDEX).unlink(missing_ok=True)


def _fit(cluster: ClusterConfig, worker_config: WorkerConfig, *, folder: Path, name: str, gpu_share: float) -> None:
    """Run the workers by Ray Train, whose own files about the run ``name`` go to ``folder``."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources, on_gpu = cluster.resources_per_worker, cluster.gpus_per_worker > 0
    if on_gpu:
        resources["GPU"] *= gpu_share
    workers = (cluster.min_workers, cluster.workers) if cluster.elastic else cluster.workers
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=worker_config,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name=name,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            worker_runtime_env={"env_vars": cluster.worker_environment},
        ),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo", timeout_s=COLLECTIVE_TIMEOUT),
    )
    trainer.fit()


class MessageHandler:
    """Applies the workers' messages to log, progress display and trial."""

    def __init__(
        self, log: TrainingLog, display: ProgressDisplay, max_failures: int, trial: TrialHooks | None = None
    ) -> None:
        self._log, self._display, self._trial, self.max_failures = log, display, trial, max_failures
        self.starts = self._workers = 0

    def handle(self, message: worker_messages.Message) -> None:
        """Apply one message; ``UserError`` or ``TrainingAbortedError`` if a worker's failure ends the training."""
        match message:
            case worker_messages.WorkerStarted():
                self._started(message)
            case TrainingProgress(clips_seen=seen, clips_total=total):
                self._log.report(message)
                text = training_text(seen, total, message.clips_per_second, message.seconds_left, message.metrics)
                self._display.show(text, share=seen / max(total, 1), last=seen >= total)
            case worker_messages.SampleVideos():
                self._log.samples(message.clips_seen, message.videos)
            case worker_messages.TrialMeasured() if self._trial:
                self._trial.on_measured(message)
            case worker_messages.UserNotice():
                self._display.message(message.text)
            case worker_messages.WorkerFailed(kind="mistake"):
                raise UserError(message.text)
            case worker_messages.WorkerFailed(kind="bug"):
                raise TrainingAbortedError(f"worker {message.rank}:\n{message.text}")
            case worker_messages.WorkerFailed():
                self._display.message(f"worker {message.rank} stopped ({redacted(message.text)[:200]})")

    def _started(self, message: worker_messages.WorkerStarted) -> None:
        self.starts += 1
        self._log.begin()
        if self.starts > 1:
            changed = f" with {message.workers} workers" if message.workers != self._workers else ""
            restart = f"restart {self.starts - 1} of at most {self.max_failures}"
            self._display.message(f"resuming from the latest checkpoint{changed}, {restart}")
        self._workers = message.workers
        if self._trial:
            self._trial.on_started(message)


def _run(fit: Callable[[], object], messages: worker_messages.WorkerMessages, handler: MessageHandler) -> None:
    """Run ``fit`` in a thread and handle the workers' messages until it returns; an error of either is raised at once."""
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    training: Future[object] = Future()

    def run() -> None:
        try:
            training.set_result(fit())
        except BaseException as error:
            training.set_exception(error)

    threading.Thread(target=run, name="ray-train", daemon=True).start()  # ends with the connection to Ray
    done = False
    try:
        while not done:
            done = bool(wait([training], POLL_INTERVAL).done)  # checked first, so that no last message is missed
            for message in messages.take():
                handler.handle(message)
                if isinstance(message, worker_messages.TrialMeasured):
                    messages.allow(message.clips_seen)
        training.result()
    except (TrainingFailedError, RayError) as error:
        limit = f"cluster.max_failures={handler.max_failures}"
        raise TrainingAbortedError(f"gave up after {handler.starts} starts ({limit})\n{error}") from error


def _write_index(output: Path, now: RunFingerprint, log: TrainingLog, run_id: str, cluster: ClusterConfig) -> None:
    content = {
        "format": FORMAT,
        "clips_seen": log.clips_seen,
        "seconds": round(log.seconds, 1),
        "clips_per_second": round(log.clips_seen / max(log.seconds, 1e-9), 2),
        "weights_digest": run_fingerprint.weights_digest(output / "generator"),
        "data_digest": now.data,
        "code_digest": now.code,
        "run_id": run_id,
        "config": {"training": now.training, "model": now.model, "cluster": asdict(cluster)},
    }
    write_csv(output / CURVES, curves(output / LOG))
    write_json(output / INDEX, content)
