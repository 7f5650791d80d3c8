"""Claim: Ray, MLflow, logging and checkpoints cost less than 3 % of a training that leaves a core to them.

Run: python -m benchmarks.overhead [--resolution 64] [--channels 128] [--precision bf16] [--batch 16] [--threads CORES-1]
[--updates 33] [--pairs 12] [--seconds 20].
Where every core trains, the cost is measured too, without an aim: Ray's processes (controller, raylet, agents) then take their time
from the training's threads.

The bare loop (data and updates alone, one process) and the stage `train` (one worker, SQLite tracking) have equal data and equally
many threads. Both are started and take turns: while one runs, all processes of the other are stopped, so both see the machine in
the same minutes; its speed varies by more than the cost. Then the stage runs alone for --updates: after half of them it writes a
checkpoint, a snapshot and sample videos. Their cost is the time beyond that of other updates, counted as often as params.yaml asks
for (every 4 000 clips, 128 and more updates here), since a run with that many would take an hour.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import psutil
import torch

from benchmarks.line import ROOT, stage, too_short, write_params
from digan.system import available_cores
from digan.training.background import Prefetcher
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from pipelines import params as parameters
from pipelines.dataset.loader import LoaderConfig, PairLoader, read_index
from pipelines.exit_status import run_stage

SKIPPED = 4  # updates at the start that are not counted on either side
FEWEST = 16  # updates, so that some remain on both sides of the checkpoint
AFTER = 2  # updates during which what was begun at a checkpoint may still be written
ENDLESS = 10**9  # clips
CORES = available_cores()
LINES = "bare.jsonl"
INTERVALS = ("checkpoint_interval", "sample_interval", "snapshot_interval")


def bare(folder: Path, threads: int) -> None:
    """Run the loop alone and forever; log a line per update, as the stage does."""
    torch.set_num_threads(threads)
    params = parameters.load(folder / "params.yaml")
    index = read_index(folder / "outputs/shards")
    model = params.model.config(resolution=index.resolution, classes=0)
    device = torch.device("cpu")
    set_numerics(params.training, device)
    state = TrainingState(params.training, model, device)
    batch = params.training.batch_size
    config = LoaderConfig(seed=0, batch_size=batch)
    loader = PairLoader(folder / "outputs/shards", config, reader_indices=[0], num_readers=1)
    before = time.perf_counter()
    with Prefetcher(loader, depth=2) as batches, (folder / LINES).open("w", buffering=1) as file:
        for pairs in batches:
            train_step(state, pairs)
            now = time.perf_counter()
            file.write(json.dumps({"clips_seen": state.clips_seen, "clips_per_second": batch / (now - before)}) + "\n")
            before = now


def read_log(path: Path) -> list[dict[str, float]]:
    """The complete lines of a log that is being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


class Side:
    """One of the two that take turns: its processes and its log. It is stopped once ``begun`` clips are logged."""

    def __init__(self, process: psutil.Process, log: Path, begun: int) -> None:
        self.process, self.log = process, log
        while (seen := read_log(log)[-1:]) == [] or seen[0]["clips_seen"] < begun:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                sys.exit(f"{log}: the process that writes it has ended")
            time.sleep(0.5)
        self.tell(signal.SIGSTOP)

    def tell(self, what: signal.Signals) -> None:
        """Send a signal to all processes of this side."""
        for each in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(what)

    def turn(self, seconds: float) -> float:
        """Seconds per clip of the updates that begin and end within the next ``seconds``."""
        known = len(read_log(self.log))
        self.tell(signal.SIGCONT)
        time.sleep(seconds)
        self.tell(signal.SIGSTOP)
        log = read_log(self.log)
        first = known + 2  # the first new line spans the pause; another may have been sent before it
        if len(log) <= first:
            raise too_short("--seconds")
        taken = sum(
            (point["clips_seen"] - before["clips_seen"]) / point["clips_per_second"]
            for before, point in zip(log[first - 1 :], log[first:], strict=False)
        )
        return taken / (log[-1]["clips_seen"] - log[first - 1]["clips_seen"])


def take_turns(folder: Path, threads: int, pairs: int, seconds: float, batch: int) -> list[tuple[float, float]]:
    """Seconds per clip of the bare loop and of the stage, in each pair of turns."""
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as Ray's workers have it (ClusterConfig.worker_environment)
    os.environ.setdefault(
        "OMP_NUM_THREADS", str(threads)
    )  # Ray sets it in a worker: its thread that decodes has no more
    process = get_context("spawn").Process(target=bare, args=(folder, threads), daemon=True)
    process.start()
    alone = Side(psutil.Process(process.pid), folder / LINES, SKIPPED * batch)
    command = [sys.executable, "-m", "pipelines.train"]
    with (folder / "train.log").open("wb") as log:
        driver = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        whole = Side(psutil.Process(driver.pid), folder / "outputs/train/log.jsonl", SKIPPED * batch)
        found = []
        for number in range(pairs):
            first, second = (alone, whole) if number % 2 else (whole, alone)
            taken = {id(side): side.turn(seconds) for side in (first, second)}
            found.append((taken[id(alone)], taken[id(whole)]))
            plain, cost = 1 / found[-1][0], 100 * (found[-1][1] / found[-1][0] - 1)
            print(
                f"bare {plain:.2f} clips/s, stage train {1 / found[-1][1]:.2f}, cost of steps {cost:+.1f} %", flush=True
            )
        return found
    finally:
        process.kill()
        for each in psutil.Process(driver.pid).children(recursive=True):
            each.send_signal(signal.SIGCONT)
        driver.send_signal(signal.SIGCONT)
        driver.terminate()
        driver.wait(60)


def events(folder: Path, kept: int, batch: int) -> tuple[float, float]:
    """From the log of a whole run: seconds per clip without the checkpoint after ``kept`` updates, and the seconds it added.

    Times are the worker's own: each report holds the rate since the previous one, without gaps.
    """
    at, before = {}, (0, 0.0)  # updates -> seconds since the first
    for point in read_log(folder / "outputs/train/log.jsonl"):
        update = int(point["clips_seen"]) // batch
        before = (update, before[1] + (update - before[0]) * batch / point["clips_per_second"])
        at[update] = before[1]
    known, last = sorted(at), max(at)
    early = [u for u in known if SKIPPED <= u < kept]
    late = [u for u in known if kept + AFTER <= u < last]  # the last one ends the run
    if min(len(early), len(late)) == 0 or len(early) + len(late) == 2:
        raise too_short("--updates")
    start, begun, done, end = early[0], early[-1], late[0], late[-1]
    plain = (at[begun] - at[start] + at[end] - at[done]) / ((begun - start + end - done) * batch)
    return plain, at[done] - at[begun] - plain * (done - begun) * batch


def main() -> None:
    """Print a line per pair of turns, the cost of a checkpoint, and the total."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=max(1, CORES - 1))
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--updates", type=int, default=33)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    if options.updates < FEWEST:
        parser.error(f"--updates {options.updates}: must be at least {FEWEST}")
    if options.pairs < 2:
        parser.error(f"--pairs {options.pairs}: must be at least 2")
    batch, kept = options.batch, options.updates // 2 + 1  # twice that is beyond the end, so there is only one
    interval = parameters.load("params.yaml").training.checkpoint_interval
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        changes = {
            "source.toy.videos": 24,
            "source.classes": False,
            "clips.resolution": options.resolution,
            "model.channel_max": options.channels,
            "training.batch_size": batch,
            "training.micro_batch": batch,
            "training.precision": options.precision,
            "training.augment": "color,translation",
            "training.mismatch_weight": 0.0,
            "cluster.workers": 1,
            "cluster.cpus_per_worker": options.threads,
        }
        rare = {"r1_interval": ENDLESS // batch, **dict.fromkeys(INTERVALS, ENDLESS)}
        often = {"r1_interval": options.updates, **dict.fromkeys(INTERVALS, kept * batch)}  # the penalty is not counted
        write_params(
            folder, {**changes, **{f"training.{key}": value for key, value in rare.items()}, "training.clips": ENDLESS}
        )
        stage("ingest", folder)
        turns = take_turns(folder, options.threads, options.pairs, options.seconds, batch)
        (folder / "outputs/train").rename(folder / "outputs/turns")
        write_params(
            folder,
            {
                **changes,
                **{f"training.{key}": value for key, value in often.items()},
                "training.clips": options.updates * batch,
            },
        )
        stage("train", folder)
        plain, event = events(folder, kept, batch)
    ratios = [math.log(whole / alone) for alone, whole in turns]
    steps, error = statistics.mean(ratios), statistics.stdev(ratios) / math.sqrt(len(ratios))
    steps, error, checkpoints = 100 * math.expm1(steps), 100 * error, 100 * event / (interval * plain)
    aim = "aim: under 3 %"
    if options.threads >= CORES:
        aim = f"no aim: all {CORES} cores train, so Ray's processes take their time from the training's threads"
    print(
        f"checkpoint, snapshot and samples {event:.2f} s, every {interval} clips {checkpoints:.1f} %\n"
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, batch {batch}, {options.threads} threads, "
        f"{options.pairs} pairs of turns of {options.seconds:g} s: cost {steps + checkpoints:+.1f} % "
        f"(steps {steps:+.1f} +- {error:.1f} %, checkpoints {checkpoints:.1f} %); {aim}"
    )


if __name__ == "__main__":
    run_stage(main)
