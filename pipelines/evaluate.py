"""Stage `evaluate`: the distance of generated videos from real ones, with real vs. real and the untrained generator.

Measures every kept snapshot at quick counts (the curve), then the best one at full counts. Writes
metrics/evaluation.json (for `dvc metrics`), plots/ (for `dvc plots`), reports/evaluation.html (for people) and
outputs/evaluation/ (pictures, videos, the best generator), and logs them to the training's MLflow run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import check_files_writable, check_writable
from pipelines import params
from pipelines.arguments import stage_parser
from pipelines.evaluation import embedding, mlflow_logging
from pipelines.evaluation.measurement import measure
from pipelines.evaluation.outputs import FOLDER, METRICS, PAGE, PLOTS, write_outputs
from pipelines.exit_status import run_stage
from pipelines.sources.made_with import check_shards_if_present
from pipelines.tracking.run_contents import how_to_open
from pipelines.tracking.runs import experiment_of

READS = "params.yaml (evaluation, cluster, tracking), outputs/reference, outputs/shards, outputs/train"
WRITES = "metrics/evaluation.json, plots, reports/evaluation.html, outputs/evaluation, the training's MLflow run"
SHARDS = Path("outputs/shards")
REFERENCE = Path("outputs/reference")
TRAIN = Path("outputs/train")


def main(argv: Sequence[str] = ()) -> None:
    """Read params.yaml, measure, write and print."""
    stage_parser("evaluate", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    settings = params.load()
    check_writable(FOLDER, PLOTS)
    check_files_writable(METRICS, PAGE)
    check_shards_if_present(SHARDS, settings.as_dict())
    config = settings.evaluation
    with embedding.open_executor(config, settings.cluster) as executor:
        measured = measure(config, executor, train=TRAIN, reference_folder=REFERENCE, shards_folder=SHARDS)
    shown = write_outputs(measured, config, train=TRAIN, shards=SHARDS, params=settings.as_dict())
    run_id = mlflow_logging.log(settings.tracking, measured, TRAIN, files=[PAGE, *FOLDER.iterdir()])
    print(measured.result.text())
    for note in measured.real.index["notes"]:
        print(f"  note: {note}")
    print(f"  report: {PAGE}")
    print("  pictures: " + ", ".join(str(FOLDER / name) for name in shown))
    if run_id:
        print(f"  MLflow: {how_to_open(settings.tracking, experiment_of(settings.tracking, run_id))}", flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
