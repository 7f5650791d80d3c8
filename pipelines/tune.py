"""Stage `tune`: a sweep over parameters of params.yaml, whose trials Ray Tune starts, compares and stops.

The same command resumes a sweep that was killed: ended trials stay as they are, the others resume from their checkpoints.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from pipelines.exit_status import run_stage
from pipelines.params import load
from pipelines.report.text_format import grouped
from pipelines.sweeps.sweep_run import run_sweep
from pipelines.sweeps.sweep_state import best_of

SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/tune")


def main(argv: list[str] | None = None) -> None:
    """Run the stage on params.yaml in the current folder."""
    argparse.ArgumentParser(prog="python -m pipelines.tune", description=__doc__).parse_args(argv)

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    records = run_sweep(load(), shards=SHARDS, output=OUTPUT)
    best = best_of(records.begun())
    if best and best.last:
        print(f"tune: best is trial {best.number:03d}, {best.last.value:.4g}: {best.values}", flush=True)
    print(f"tune: {grouped(records.clips)} clips in all; {OUTPUT}", flush=True)


if __name__ == "__main__":
    run_stage(main)
