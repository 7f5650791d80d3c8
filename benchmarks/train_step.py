"""Clips per second of a training step, and which share of the machine's rate of matrix products it reaches.

Run: python -m benchmarks.train_step [--threads 2] [--runs 5] [--sizes 32/64,64/128] (resolution/channels). One worker; float32
and bf16 in turn; the machine's matrix rate in the same run, so that a slow hour shows. "share" is the step's counted arithmetic
(torch's FLOP counter) per second over that rate. How much faster than a plain step: benchmarks.plain_step, which runs both in turn.
Quoted, from another machine and not to be divided by: the published code, 18.0 and 1.6 clips/s at these sizes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from digan.models.config import NetworkConfig
from digan.seeding import generator_for
from digan.times import draw_time_pairs
from digan.training.config import TrainingConfig
from digan.training.loop import train_step
from digan.training.state import TrainingState
from digan.types import FramePair

BATCH = 16
R1_INTERVAL = 16
SIZES = "32/64,64/128"


def training_config(precision: str) -> TrainingConfig:
    """The paper's setting at a batch that two cores can hold."""
    return TrainingConfig(
        seed=0,
        start_from="",
        clips=10**9,
        batch_size=BATCH,
        micro_batch=BATCH,
        generator_lr=0.0025,
        discriminator_lr=0.0025,
        r1_gamma=1.0,
        r1_interval=R1_INTERVAL,
        generator_interval=4,
        augment="color,translation",
        horizontal_flip=False,
        ema_half_life=20000,
        ema_ramp=0.05,
        style_mixing=0.0,
        path_length_weight=0.0,
        mismatch_weight=0.0,
        precision=precision,
        compile=False,
        deterministic=False,
        on_divergence="stop",
        collapse_loss=0.0,
        collapse_clips=1,
        checkpoint_interval=10**9,
        checkpoints_kept=1,
        sample_interval=10**9,
        snapshot_interval=10**9,
        snapshots_kept=1,
    )


class Step:
    """One size at one precision, ready to be timed."""

    def __init__(self, resolution: int, channels: int, precision: str) -> None:
        model = NetworkConfig(
            resolution=resolution,
            channel_base=32768,
            channel_max=channels,
            mapping_layers=2,
            modulation_rank=10,
            classes=0,
        )
        self.state = TrainingState(training_config(precision), model, torch.device("cpu"))
        generator = generator_for(0, "benchmark")
        frames = torch.rand(BATCH, 2, 3, resolution, resolution, generator=generator) * 2 - 1
        self.pair = FramePair(frames=frames, times=draw_time_pairs(BATCH, generator=generator), labels=None)
        self.seconds: list[float] = []
        train_step(self.state, [self.pair])  # the first one holds a penalty and all allocations

    def arithmetic(self) -> float:
        """Floating-point operations per clip in an update without a penalty."""
        with FlopCounterMode(display=False) as counter:
            train_step(self.state, [self.pair])
        return counter.get_total_flops() / BATCH

    def time(self, steps: int) -> None:
        """A full round of ``steps`` updates; with 16 of them exactly one holds the R1 penalty."""
        start = time.perf_counter()
        for _ in range(steps):
            train_step(self.state, [self.pair])
        self.seconds.append((time.perf_counter() - start) / steps)


def matrix_rate(size: int = 2048) -> float:
    """Float32 matrix products, operations per second."""
    a = torch.randn(size, size)
    start = time.perf_counter()
    a @ a
    return 2 * size**3 / (time.perf_counter() - start)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default=SIZES, help="resolution/channels, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = [tuple(map(int, size.split("/"))) for size in options.sizes.split(",")]
    steps = {(r, c, p): Step(r, c, p) for r, c in sizes for p in ("fp32", "bf16")}
    arithmetic = {key: step.arithmetic() for key, step in steps.items()}
    rates = []
    for _ in range(options.runs):
        for step in steps.values():
            rates.append(matrix_rate())
            step.time(R1_INTERVAL)
    rate = statistics.median(rates)
    print(
        f"{options.threads} threads, batch {BATCH}, {options.runs} runs; matrix products {rate / 1e9:.0f} GFLOP/s (median)"
    )
    print("size/channels precision  clips/s (min-max)      GFLOP/clip  share of matrix rate")
    for (resolution, channels, precision), step in steps.items():
        per_second = sorted(BATCH / seconds for seconds in step.seconds)
        median = statistics.median(per_second)
        work = arithmetic[resolution, channels, precision]
        print(
            f"{resolution}x{resolution}/{channels:<6} {precision:9} {median:6.1f} ({per_second[0]:.1f}-{per_second[-1]:.1f})"
            f" {work / 1e9:11.2f} {100 * median * work / rate:10.0f} %"
        )


if __name__ == "__main__":
    main()
