"""What Ray, MLflow, logging and checkpoints together cost of a step against the bare loop in one process (aim: under 3 %).

Run: python -m benchmarks.overhead [--resolution 64] [--channels 128] [--precision bf16] [--threads 2] [--updates 33]
[--runs 3].
Alternates the two on equal data: the bare loop (data and updates alone, one process) and the stage `train` (one worker, SQLite
tracking), with as many threads. Past half-way the stage writes a checkpoint, a snapshot and a strip of samples. What they take is told
apart, as seconds beyond updates without them, and counted as often as params.yaml has it (every 4 000 clips, 128 and more updates
here), since a run that held so many would take an hour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.line import stage, write_params
from digan.training.background import Ahead
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.training.step import train_step
from pipelines import params as parameters
from pipelines.media.shards import PairReader, read_index

BATCH, SKIPPED = 16, 4  # clips an update; updates at the start that are not counted on either side
FEWEST = 16  # updates, so that some remain on both sides of the checkpoint
AFTER = 2  # updates during which what was begun at a checkpoint may still be written


def bare(folder: Path, updates: int, threads: int) -> float:
    """Seconds a clip of the loop alone."""
    torch.set_num_threads(threads)
    params = parameters.load(folder / "params.yaml")
    index = read_index(folder / "outputs/shards")
    model = params.model.config(resolution=index.resolution, classes=0)
    device = torch.device("cpu")
    set_numerics(params.training, device)
    state = TrainingState(params.training, model, device)
    reader = PairReader(folder / "outputs/shards", rank=0, world=1, seed=0, batch_size=BATCH)
    with Ahead(([pair] for pair in reader), depth=2) as batches:
        for done in range(updates):
            if done == SKIPPED:
                begun = time.perf_counter()
            train_step(state, next(batches))
    return (time.perf_counter() - begun) / ((updates - SKIPPED) * BATCH)


def staged(folder: Path, kept: int) -> tuple[float, float]:
    """Of the stage's log: seconds a clip away from the checkpoint after ``kept`` updates, and what that took beyond it, seconds.

    Time is the worker's own: its reports follow each other without a gap, each with the rate since the one before.
    """
    log = [json.loads(line) for line in (folder / "outputs/train/log.jsonl").read_text().splitlines()]
    at, before = {}, (0, 0.0)  # updates -> seconds since the first
    for point in log:
        update = point["clips_seen"] // BATCH
        before = (update, before[1] + (update - before[0]) * BATCH / point["clips_per_second"])
        at[update] = before[1]
    known, last = sorted(at), max(at)
    start, end = min(u for u in known if u >= SKIPPED), max(u for u in known if u < last)  # the last one ends the run
    begun = max(u for u in known if u < kept)
    done = min(u for u in known if u >= kept + AFTER)
    plain = (at[begun] - at[start] + at[end] - at[done]) / ((begun - start + end - done) * BATCH)
    return plain, at[done] - at[begun] - plain * (done - begun) * BATCH


def main() -> None:
    """Prints a line a pair, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--updates", type=int, default=33)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.updates < FEWEST:
        parser.error(f"--updates {options.updates}: must be at least {FEWEST}")
    clips, kept = (
        options.updates * BATCH,
        options.updates // 2 + 1,
    )  # twice that lies beyond the end, so there is but one
    interval = parameters.load("params.yaml").training.checkpoint_interval
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
            "training.mismatch_weight": 0.0,
            "training.r1_interval": options.updates,  # a penalty in the first update alone, where neither side counts
            "training.checkpoint_interval": kept * BATCH,
            "training.sample_interval": kept * BATCH,
            "training.snapshot_interval": kept * BATCH,
            "cluster.workers": 1,
            "cluster.cpus_per_worker": options.threads,
        }
        write_params(folder, changes)
        stage("ingest", folder)
        steps, events, wholes = [], [], []
        for run in range(options.runs):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:  # its memory goes with it
                alone = process.submit(bare, folder, options.updates, options.threads).result()
            stage("train", folder)
            plain, event = staged(folder, kept)
            (folder / "outputs/train").rename(folder / f"outputs/train{run}")
            steps.append(100 * (plain / alone - 1))
            events.append(100 * event / (interval * alone))
            wholes.append(steps[-1] + events[-1])
            print(
                f"bare {1 / alone:.2f} clips/s, stage train {1 / plain:.2f}, cost of steps {steps[-1]:+.1f} %; checkpoint, snapshot and "
                f"strip {event:.2f} s, every {interval} clips {events[-1]:.1f} %; together {wholes[-1]:+.1f} %",
                flush=True,
            )
    print(
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, batch {BATCH}, "
        f"{options.threads} threads, {options.updates} updates: median cost {statistics.median(wholes):+.1f} % "
        f"(steps {statistics.median(steps):+.1f} %, checkpoints {statistics.median(events):.1f} %)"
    )


if __name__ == "__main__":
    main()
