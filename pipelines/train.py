"""Stage `train`: shards in, a trained generator out. Ray places workers and watches them; this driver keeps the books.

The same command goes on from the last checkpoint, whatever ended the run before.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digan.atomic import write_json
from digan.errors import UserError
from digan.models.config import ModelConfig
from pipelines.errors import run_stage
from pipelines.media.write import write_csv
from pipelines.params import Params, load
from pipelines.report.logbook import LOG, Logbook, curves, mend_log
from pipelines.report.progress_display import ProgressDisplay, training_text
from pipelines.report.text_format import duration, grouped
from pipelines.services import mirror, origin, preflight, tracking
from pipelines.services.cluster import connect
from pipelines.services.provenance import run_tags
from pipelines.services.worker import Assignment, train_worker
from pipelines.services.worker_messages import (
    ProgressReport,
    SampleVideos,
    TrialMeasured,
    UserNotice,
    WorkerFailed,
    WorkerMessages,
    WorkerStarted,
)

if TYPE_CHECKING:
    from digan.models.generator import Generator

SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/train")
LOOK = 0.5  # seconds between two looks at the channel
COLLECTIVE_TIMEOUT = 600  # seconds after which a worker gives up on peers that went without a word
FORMAT = 1
CURVES = "curves.csv"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A training as a trial of a sweep: measured at its checkpoints, where it waits until it may go on.

    ``objective`` runs in rank 0's process; ``on_started`` and ``on_measured`` here, and what they raise ends the training.
    ``gpu_share`` is the part of a GPU that a worker gets; ``run_file`` names the run in MLflow.
    """

    objective: Callable[[int, Generator], dict[str, float]]
    on_started: Callable[[WorkerStarted], object]
    on_measured: Callable[[TrialMeasured], None]
    gpu_share: float
    run_file: Path


class TrainingFailedError(Exception):
    """The workers' end cannot be mended by starting them again; the text holds the worker's traceback."""


def train(params: Params, *, shards: Path, output: Path, trial: Trial | None = None) -> None:
    """Train what ``params`` says from ``shards`` into ``output``; returns at once where that is done already.

    With ``cluster.storage`` the run lives there: shards and checkpoints lie on S3, the folder holds its books and gets its results.
    ``trial`` is given in a sweep, whose trials live in their folders.

    Errors: ``UserError`` for a user's mistake, here or in a worker; ``TrainingFailedError`` for other ends of workers.
    """
    from pipelines.media.shards import read_index

    home, output = "" if trial else params.cluster.storage, output.absolute()
    config = tracking.resolved(params.tracking)
    preflight.check_driver(config.uri, home, output)
    place = mirror.find_shards(shards, home)
    index = read_index(place)
    if index.resolution != params.clips.resolution or index.frames != params.clips.frames:
        raise UserError(
            f"{place}: has clips of {index.resolution} pixels and {index.frames} frames, params.yaml asks for "
            f"{params.clips.resolution} and {params.clips.frames}; make the shards again: python -m pipelines.ingest"
        )
    model = params.model.config(resolution=index.resolution, classes=len(index.classes))
    now = origin.Origin(
        training=asdict(params.training),
        model=asdict(model),
        data=index.digest,
        code=origin.code_digest(),
        workers=params.cluster.workers,
    )
    line = ProgressDisplay("train", interval=10.0)
    with origin.sole_writer(output):
        if home:
            mirror.pull(home, output)
        seen = int(mend_log(output / LOG).get("clips_seen", 0))
        decision = origin.decide(output, now, clips_seen=seen)
        if decision.kind == "finished":
            line.message(f"{output} holds this run already, {grouped(seen)} clips; nothing to do")
            return
        if home and decision.kind == "over":
            raise UserError(
                f"cluster.storage={home}: holds another run ({'; '.join(decision.notes)}); give this one another prefix"
            )
        with connect(params.cluster) as scratch:
            if home:
                place = mirror.publish_shards(place, home, line.message)
            preflight.check_nodes(place, home or str(output), now.code)
            _prepare(decision, output, line, seen)
            origin.write_origin(output, now)
            tags = run_tags("train", index.digest)
            settings = {name: section for name, section in params.as_dict().items() if name != "tune"}
            run_id = tracking.open_run(config, settings, tags, trial.run_file if trial else output / "run.json")
            with mirror.Books(output, home, line.message):
                with _books(config, run_id, output, line) as book:
                    trainer, channel = _trainer(params, model, place, home or str(output), scratch, run_id, trial)
                    _follow(trainer, channel, book, line, params.cluster.max_failures, trial)
                if home:
                    mirror.fetch(home, output)
                _write_index(output, now, book, run_id, params)
        line.message(
            f"{grouped(book.clips_seen)} clips in {duration(book.seconds)}; generator in {output / 'generator'}"
        )


def _prepare(decision: origin.Decision, output: Path, line: ProgressDisplay, seen: int) -> None:
    """Bring the output folder into the state that the decision asks for, and say so."""
    if decision.kind == "over":
        previous = origin.move_aside(output)
        kept = f"; it is now {previous.name}" if previous else ""
        line.message(f"starting over: {output} holds another run ({'; '.join(decision.notes)}){kept}")
    elif decision.kind == "continue":
        for note in decision.notes:
            line.message(note)
        if seen:
            line.message(f"going on from the last checkpoint; the log ends at {grouped(seen)} clips")
    output.mkdir(parents=True, exist_ok=True)
    (output / origin.INDEX).unlink(missing_ok=True)


@contextmanager
def _books(config: tracking.TrackingConfig, run_id: str, output: Path, line: ProgressDisplay) -> Iterator[Logbook]:
    """The logbook, and the run's end in MLflow: finished, failed or killed."""
    book = Logbook(
        output,
        track=lambda metrics, clips: tracking.log_metrics(config, run_id, metrics, clips),
        track_file=lambda path: tracking.log_artifact(config, run_id, path, "samples"),
        warn=line.message,
    )
    status = "FAILED"
    try:
        yield book
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        line.close()
        book.close()
        try:
            tracking.finish_run(config, run_id, status)
        except Exception as error:
            line.message(f"MLflow was not told that the run is {status} ({type(error).__name__})")


def _trainer(
    params: Params, model: ModelConfig, shards: str, output: str, scratch: Path, run_id: str, trial: Trial | None
) -> tuple[Any, WorkerMessages]:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    cluster, channel = params.cluster, WorkerMessages()
    assignment = Assignment(
        training=asdict(params.training),
        model=asdict(model),
        shards=shards,
        output=output,
        threads=cluster.cpus_per_worker,
        environment=preflight.environment(),
        channel=channel,
        objective=trial.objective if trial else None,
    )
    resources = cluster.resources_per_worker
    if trial and "GPU" in resources:
        resources["GPU"] *= trial.gpu_share
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=assignment,
        scaling_config=ScalingConfig(
            num_workers=(cluster.min_workers, cluster.workers) if cluster.elastic else cluster.workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=f"digan-{run_id[:8]}-{time.time_ns()}",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            worker_runtime_env={"env_vars": cluster.worker_environment},
        ),
        torch_config=TorchConfig(backend=cluster.backend, timeout_s=COLLECTIVE_TIMEOUT),
    )
    return trainer, channel


def _follow(
    trainer: Any, channel: WorkerMessages, book: Logbook, line: ProgressDisplay, max_failures: int, trial: Trial | None
) -> None:
    """Run ``trainer.fit`` in a thread and take the workers' messages until it ends."""
    ended: list[BaseException | None] = []

    def fit() -> None:
        try:
            trainer.fit()
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    starts = workers = 0
    while True:
        alive = thread.is_alive()  # asked before taking, so that last words are not missed
        for message in channel.take():
            if isinstance(message, WorkerStarted):
                starts += 1
                book.begin()
                if trial:
                    trial.on_started(message)
                if starts > 1:
                    shared = f" with {message.workers} workers" if message.workers != workers else ""
                    line.message(
                        f"going on from the last checkpoint{shared}, restart {starts - 1} of at most {max_failures}"
                    )
                workers = message.workers
            elif isinstance(message, TrialMeasured):
                if trial:
                    trial.on_measured(message)
                channel.allow(message.clips_seen)
            else:
                _take(message, book, line)
        if not alive:
            break
        thread.join(LOOK)
    if ended[0] is not None:
        raise TrainingFailedError(f"given up after {starts} starts (cluster.max_failures={max_failures})\n{ended[0]}")


def _take(
    message: ProgressReport | SampleVideos | WorkerFailed | UserNotice, book: Logbook, line: ProgressDisplay
) -> None:
    if isinstance(message, ProgressReport):
        book.report(message)
        seen, total = message.clips_seen, message.clips_total
        text = training_text(seen, total, message.clips_per_second, message.seconds_left, message.metrics)
        line.show(text, share=seen / max(total, 1), last=seen >= total)
    elif isinstance(message, SampleVideos):
        book.samples(message.clips_seen, message.videos)
    elif isinstance(message, UserNotice):
        line.message(message.text)
    elif message.kind == "mistake":
        raise UserError(message.text)
    elif message.kind == "bug":
        raise TrainingFailedError(f"worker {message.rank}:\n{message.text}")
    else:
        line.message(f"worker {message.rank} stopped ({message.text[:200]})")


def _write_index(output: Path, now: origin.Origin, book: Logbook, run_id: str, params: Params) -> None:
    content = {
        "format": FORMAT,
        "clips_seen": book.clips_seen,
        "seconds": round(book.seconds, 1),
        "clips_per_second": round(book.clips_seen / max(book.seconds, 1e-9), 2),
        "weights_digest": origin.weights_digest(output / "generator"),
        "data_digest": now.data,
        "code_digest": now.code,
        "run_id": run_id,
        "config": {"training": now.training, "model": now.model, "cluster": asdict(params.cluster)},
    }
    write_csv(output / CURVES, curves(output / LOG))
    write_json(output / origin.INDEX, content)


def dry_run(params: Params, *, shards: Path) -> None:
    """Print what a training with these parameters would be on this machine."""
    from pipelines import dry_run as dry
    from pipelines.media.shards import read_index

    classes = len(read_index(shards).classes) if (shards / "index.json").exists() else None
    print(dry.show(params, dry.model_of(params, classes)))


def publish(params: Params, *, shards: Path) -> str:
    """Put the shards where a job finds them; returns their address."""
    if not params.cluster.storage:
        raise UserError('cluster.storage="": there is no place to put shards to; set it to s3://bucket/run')
    return mirror.publish_shards(str(shards.absolute()), params.cluster.storage, ProgressDisplay("train").message)


def main(argv: list[str] | None = None) -> None:
    """Run the stage on params.yaml in the present folder."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="show parameters, sizes, memory and time; train nothing")
    parser.add_argument("--publish", action="store_true", help="put the shards below cluster.storage; train nothing")
    arguments = parser.parse_args(argv)
    if arguments.dry_run:
        dry_run(load(), shards=SHARDS)
        return
    if arguments.publish:
        print(publish(load(), shards=SHARDS))
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)  # a job that is preempted ends like one that is interrupted
    try:
        train(load(), shards=SHARDS, output=OUTPUT)
    except TrainingFailedError as error:
        print(f"error: the training failed: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    run_stage(main)
