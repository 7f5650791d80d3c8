"""Claim: Ray, MLflow, logging and checkpoints together cost under 3 % of a step against the bare loop in one process.

Run: python -m benchmarks.overhead [--resolution 64] [--channels 128] [--precision bf16] [--updates 32] [--runs 2].
Alternates the two on equal data: the bare loop (data and updates alone, one process, two threads) and the stage `train` (one worker,
two threads, SQLite tracking, two checkpoints and two strips of samples on the way, far more often than the demo writes them).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.line import seconds_a_clip, stage, write_params
from digan.training.background import Ahead
from digan.training.state import TrainingState
from digan.training.step import train_step
from pipelines.media.shards import PairReader, read_index
from pipelines.params import load

BATCH, SKIPPED = 16, 4  # updates at the start that are not counted on either side


def bare(folder: Path, updates: int, threads: int) -> float:
    """Seconds a clip of the loop alone."""
    torch.set_num_threads(threads)
    params = load(folder / "params.yaml")
    index = read_index(folder / "outputs/shards")
    model = params.model.config(resolution=index.resolution, classes=0)
    state = TrainingState(params.training, model, torch.device("cpu"))
    reader = PairReader(folder / "outputs/shards", rank=0, world=1, seed=0, batch_size=BATCH)
    with Ahead(([pair] for pair in reader), depth=2) as batches:
        for done in range(updates):
            if done == SKIPPED:
                begun = time.perf_counter()
            train_step(state, next(batches))
    return (time.perf_counter() - begun) / ((updates - SKIPPED) * BATCH)


def main() -> None:
    """Prints a line a pair, and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--updates", type=int, default=32)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    clips = options.updates * BATCH
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        changes = {
            "source.toy_videos": 24,
            "source.classes": False,
            "clips.resolution": options.resolution,
            "model.channel_max": options.channels,
            "training.clips": clips,
            "training.batch_size": BATCH,
            "training.micro_batch": BATCH,
            "training.precision": options.precision,
            "training.augment": "color,translation",
            "training.checkpoint_interval": clips // 2,
            "training.sample_interval": clips // 2,
            "training.snapshot_interval": clips // 2,
            "cluster.workers": 1,
            "cluster.cpus_per_worker": options.threads,
        }
        write_params(folder, changes)
        stage("ingest", folder)
        costs = []
        for run in range(options.runs):
            alone = bare(folder, options.updates, options.threads)
            stage("train", folder)
            whole = seconds_a_clip(folder, (SKIPPED * BATCH, clips))
            (folder / "outputs/train").rename(folder / f"outputs/train{run}")
            costs.append(100 * (whole / alone - 1))
            print(
                f"bare {1 / alone:.2f} clips/s, stage train {1 / whole:.2f} clips/s, cost {costs[-1]:+.1f} %",
                flush=True,
            )
    print(
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, batch {BATCH}, "
        f"{options.threads} threads, {options.updates} updates: median cost {statistics.median(costs):+.1f} %"
    )


if __name__ == "__main__":
    main()
