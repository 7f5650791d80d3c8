"""Claim: two workers reach at least 0.8 of the speed-up of two processes that share nothing, one core each.

Run: python -m benchmarks.two_workers [--resolution 64] [--channels 64] [--precision fp32] [--batch 64] [--updates 8] [--runs 3].
Equal work: the paper's batch of 64 in micro-batches of 8, the same data and random draws; rates come from each run's own log. Each
run is followed by two processes that share nothing, then one: the ratio of their rates is what the machine allows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.line import seconds_a_clip, stage, write_params
from pipelines.exit_status import run_stage

MICRO_BATCH, SKIPPED = 8, 1  # clips; updates at the start that are not counted


def alone(connection: Connection, resolution: int, channels: int, precision: str, seconds: float) -> None:
    """Send the updates per second of one thread, measured from the start signal on."""
    import torch

    from benchmarks.train_step import Step
    from digan.training.loop import train_step

    torch.set_num_threads(1)
    step = Step(resolution, channels, precision)
    connection.send(0.0)
    connection.recv()
    begun, updates = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        train_step(step.state, [step.pair])
        updates += 1
    connection.send(updates / spent)


def independent(count: int, *setting: int | str | float) -> float:
    """Updates per second of ``count`` processes together."""
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as Ray's workers have it (ClusterConfig.worker_environment)
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=alone, args=(theirs, *setting)) for _, theirs in ends]
    for process in processes:
        process.start()
    for ours, _ in ends:
        ours.recv()
    for ours, _ in ends:
        ours.send("go")
    rates = [ours.recv() for ours, _ in ends]
    for process in processes:
        process.join()
    return sum(rates)


def main() -> None:
    """Print a line per run, and the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="of each measurement of processes that share nothing"
    )
    options = parser.parse_args()
    clips = options.updates * options.batch
    ratios, possible = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        changes = {
            "source.toy.videos": 24,
            "source.classes": False,
            "clips.resolution": options.resolution,
            "model.channel_max": options.channels,
            "training.clips": clips,
            "training.batch_size": options.batch,
            "training.micro_batch": MICRO_BATCH,
            "training.precision": options.precision,
            "training.checkpoint_interval": clips,
            "training.sample_interval": clips,
            "training.snapshot_interval": clips,
        }
        write_params(folder, changes)
        stage("ingest", folder)
        for run in range(options.runs):
            rates = {}
            for workers in (1, 2):
                write_params(folder, changes | {"cluster.workers": workers})
                stage("train", folder)
                rates[workers] = 1 / seconds_a_clip(folder, (SKIPPED * options.batch, clips - options.batch))
                (folder / "outputs/train").rename(folder / f"outputs/train{run}{workers}")
            ratios.append(rates[2] / rates[1])
            setting = (options.resolution, options.channels, options.precision, options.seconds)
            possible.append(independent(2, *setting) / independent(1, *setting))
            print(
                f"one worker {rates[1]:.2f} clips/s, two {rates[2]:.2f} clips/s, ratio {ratios[-1]:.2f};"
                f" processes that share nothing {possible[-1]:.2f}",
                flush=True,
            )
    reached = statistics.median(ratio / allowed for ratio, allowed in zip(ratios, possible, strict=True))
    print(
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, batch {options.batch}, one thread a worker, "
        f"{options.updates} updates: median ratio {statistics.median(ratios):.2f},"
        f" of {statistics.median(possible):.2f} that the machine allows; reached {reached:.2f} (claim: 0.8)"
    )


if __name__ == "__main__":
    run_stage(main)
