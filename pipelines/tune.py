"""Stage `tune`: search parameters with Ray Tune. Run it again to resume an interrupted sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import check_files_writable, check_writable
from pipelines.arguments import stage_parser
from pipelines.cluster.ray_cluster import stay_on_loopback
from pipelines.exit_status import interrupt_on_sigterm, run_stage
from pipelines.params import load
from pipelines.report.text_format import grouped
from pipelines.sweeps.sweep_state import best_of
from pipelines.tracking.run_contents import how_to_open
from pipelines.tracking.runs import read_experiment_id

READS = "params.yaml (tune, model, training, evaluation, cluster, tracking), outputs/shards; an earlier sweep, which it resumes"
WRITES = "outputs/tune, metrics/sweep.json, metrics/sweep.csv, reports/sweep.html, MLflow runs"
SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/tune")


def main(argv: Sequence[str] = ()) -> None:
    """Run the stage with params.yaml of the current folder."""
    stage_parser("tune", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    params = load()
    stay_on_loopback(params.cluster)
    from pipelines.sweeps.sweep_page import PAGE
    from pipelines.sweeps.sweep_run import run_sweep  # imports Ray, and cannot be imported without a home folder
    from pipelines.sweeps.sweep_summary import SUMMARY, TABLE

    check_writable(OUTPUT)
    check_files_writable(TABLE, SUMMARY, PAGE)
    interrupt_on_sigterm()
    state = run_sweep(params, shards=SHARDS, output=OUTPUT)
    if best := best_of(state.launched()):
        print(f"tune: best is trial {best.number:03d}, {best.value:.4g}: {best.values}", flush=True)
    print(f"tune: {grouped(state.clips)} clips in total; {OUTPUT}", flush=True)
    print(f"tune: MLflow: {how_to_open(params.tracking, read_experiment_id(OUTPUT / 'run.json'))}", flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
