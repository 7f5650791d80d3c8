"""Stage `train`: train a generator on the shards. Run it again to resume from the latest checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import check_writable
from digan.errors import UserError
from digan.redaction import redacted
from pipelines.arguments import stage_parser
from pipelines.cluster.dry_run import show
from pipelines.cluster.ray_cluster import stay_on_loopback
from pipelines.dataset import class_coverage
from pipelines.dataset.shard_index import read_index
from pipelines.exit_status import interrupt_on_sigterm, run_stage
from pipelines.params import Params, load
from pipelines.params_file import dump
from pipelines.report.progress_display import ProgressDisplay
from pipelines.tracking.run_contents import how_to_open
from pipelines.tracking.runs import read_experiment_id
from pipelines.training_run import run_sync

READS = "params.yaml (clips, model, training, cluster, tracking), outputs/shards; an earlier run, which it resumes"
WRITES = "outputs/train, an MLflow run; checkpoints at cluster.storage if it is set"
SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/train")


def dry_run(params: Params) -> None:
    """Print parameters, model sizes, and the memory and time that the training would take on this machine."""
    # Without shards, the number of classes is unknown; assume one.
    classes = len(read_index(SHARDS).classes) if (SHARDS / "index.json").exists() else int(params.source.classes)
    model = params.model.config(resolution=params.clips.resolution, classes=classes)
    print(dump(params.as_dict()))
    print(show(params.training, model, params.cluster))
    if note := class_coverage.note(class_coverage.recorded(SHARDS)):
        print(f"  {note}")


def main(argv: Sequence[str] = ()) -> None:
    """Run the stage with params.yaml of the current folder."""
    parser = stage_parser("train", __doc__, reads=READS, writes=WRITES)
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--dry-run", action="store_true", help="print parameters, sizes, memory and time")
    actions.add_argument("--publish", action="store_true", help="copy the shards to cluster.storage")
    arguments, params = parser.parse_args(argv), load()
    storage = params.cluster.storage
    if arguments.dry_run:
        dry_run(params)
    elif arguments.publish and not storage:
        raise UserError('cluster.storage="": must be set to copy the shards there; try s3://bucket/run')
    elif arguments.publish:
        print(run_sync.publish_shards(str(SHARDS.absolute()), storage, ProgressDisplay("train").message))
    else:
        check_writable(OUTPUT)
        interrupt_on_sigterm()
        stay_on_loopback(params.cluster)
        from pipelines.cluster import training_driver  # imports Ray
        from pipelines.registry import start_address

        try:
            training_driver.train(params, shards=SHARDS, output=OUTPUT, start=start_address.load)
        except training_driver.TrainingAbortedError as error:
            sys.exit(redacted(f"error: the training failed: {error}"))
        experiment = read_experiment_id(OUTPUT / "run.json")
        print(f"train: MLflow: {how_to_open(params.tracking, experiment)}", flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
