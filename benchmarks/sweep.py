"""A sweep under ASHA against the same trials run to their ends: clips spent, and how good the chosen configuration is.

python -m benchmarks.sweep [--clips 4000] [--trials 8] [--seeds 2] [--out FOLDER]

Both draw the same eight configurations. Each chosen configuration is trained to the end again with seeds other than
those of the search, so the comparison includes the spread of training and evaluation; the objective is one draw of the demo's detector.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

from pipelines import params
from pipelines.exit_status import run_stage
from pipelines.params import Params
from pipelines.report.text_format import grouped
from pipelines.sweeps.sweep_run import run_sweep
from pipelines.sweeps.sweep_state import SweepState, best_of

INTERVALS = 12  # measurements per whole trial: rungs at 1/12, 3/12 and 9/12 with reduction 3


def run(base: Params, shards: Path, output: Path, **changes: object) -> SweepState:
    """One sweep in ``output``; a finished one is read."""
    return run_sweep(replace(base, tune=replace(base.tune, **changes)), shards=shards, output=output)  # type: ignore[arg-type]


def retrain(base: Params, shards: Path, output: Path, values: dict[str, object], seeds: int) -> list[float]:
    """The final objective of a configuration trained with fresh seeds."""
    space = {
        **{name: {"choice": [value]} for name, value in values.items()},
        "training.seed": {"grid": list(range(101, 101 + seeds))},
    }
    found = run(base, shards, output, scheduler="none", search="grid", space=space)
    return [t.last.value for t in found.launched() if t.last]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=3600)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--videos", type=int, default=128)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--shards", type=Path, default=Path("outputs/shards"))
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-sweep"))
    options = parser.parse_args()
    base = params.load(options.params)
    tuned = replace(
        base.tune,
        trials=options.trials,
        clips=options.clips,
        grace_period=options.clips // INTERVALS,
        videos=options.videos,
        reduction_factor=3.0,
        search="random",
        budget=0,
        max_concurrent_trials=0,
        space={
            "training.r1_gamma": {"loguniform": [0.1, 10]},
            "training.generator_lr": {"loguniform": [0.0005, 0.02]},
            "training.discriminator_lr": {"loguniform": [0.0005, 0.02]},
        },
    )
    base = replace(
        base, tune=tuned, tracking=replace(base.tracking, uri=f"sqlite:///{(options.out / 'mlflow.db').absolute()}")
    )
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, scheduler in (("asha", "asha"), ("full", "none")):
        records = run(base, options.shards, options.out / name, scheduler=scheduler)
        best = best_of(records.launched())
        assert best is not None and best.last is not None
        retrained = retrain(base, options.shards, options.out / f"judge-{best.number}", best.values, options.seeds)
        overhead = [t.wall - t.seconds for t in records.launched()]
        rows.append((name, records, best, retrained, overhead))
    print(
        f"{options.trials} trials of {grouped(options.clips)} clips, {options.videos} videos, {options.seeds} seeds to retrain"
    )
    print("sweep  clips     chosen  in the sweep  retrained with fresh seeds       overhead per trial, median (s)")
    for name, records, best, retrained, overhead in rows:
        spread = f" +- {statistics.stdev(retrained):.2g}" if len(retrained) > 1 else ""
        values = f"{statistics.mean(retrained):.4g}{spread} ({', '.join(f'{v:.4g}' for v in retrained)})"
        print(
            f"{name:6} {grouped(records.clips):9} {best.number:03d}     {best.last.value:<12.4g}  {values:32}", end=" "
        )
        print(f"{statistics.median(overhead):.1f}")
    print(f"asha spent {rows[0][1].clips / rows[1][1].clips:.2f} of the clips of the full sweep")
    print(json.dumps({name: {t.number: [m.value for m in t.measures] for t in r.launched()} for name, r, *_ in rows}))


if __name__ == "__main__":
    run_stage(main)
