"""Stage `train`: shards in, a trained generator out.

The same command resumes from the latest checkpoint, whatever interrupted the run before.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from digan.errors import UserError
from pipelines.cluster import training_driver
from pipelines.exit_status import run_stage
from pipelines.params import Params, load
from pipelines.params_file import dump
from pipelines.report.progress_display import ProgressDisplay
from pipelines.training_run import run_sync

SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/train")


def train(params: Params, *, shards: Path, output: Path) -> None:
    """Train as ``params`` says; see ``training_driver.train``."""
    training_driver.train(params.training_job(), shards=shards, output=output)


def dry_run(params: Params, *, shards: Path) -> None:
    """Print what a training with these parameters would be on this machine."""
    from pipelines.cluster import dry_run as dry
    from pipelines.dataset.loader import read_index

    # Without shards the number of classes is unknown; one class is as large as any.
    classes = len(read_index(shards).classes) if (shards / "index.json").exists() else int(params.source.classes)
    model = params.model.config(resolution=params.clips.resolution, classes=classes)
    print(dump(params.as_dict()))
    print(dry.show(params.training, model, params.cluster))


def publish(params: Params, *, shards: Path) -> str:
    """Copy the shards to ``cluster.storage``, where a Ray job finds them; returns their address."""
    if not params.cluster.storage:
        raise UserError('cluster.storage="": no storage to copy the shards to; set it to s3://bucket/run')
    return run_sync.publish_shards(str(shards.absolute()), params.cluster.storage, ProgressDisplay("train").message)


def main(argv: list[str] | None = None) -> None:
    """Run the stage on params.yaml in the current folder."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="show parameters, sizes, memory and time; train nothing")
    parser.add_argument("--publish", action="store_true", help="copy the shards to cluster.storage; train nothing")
    arguments = parser.parse_args(argv)
    if arguments.dry_run:
        dry_run(load(), shards=SHARDS)
        return
    if arguments.publish:
        print(publish(load(), shards=SHARDS))
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)  # a preempted job ends like an interrupted one
    try:
        train(load(), shards=SHARDS, output=OUTPUT)
    except training_driver.TrainingAbortedError as error:
        sys.exit(f"error: the training failed: {error}")


if __name__ == "__main__":
    run_stage(main)
