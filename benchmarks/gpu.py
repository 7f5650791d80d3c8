"""Claim: a training step reaches 40 % or more of a GPU's measured bf16 matrix rate at 128x128 and the published sizes.

    python -m benchmarks.gpu [--resolution 128] [--channels 512] [--batches 8,16,32] [--runs 3]

Needs a GPU and torch only. Prints for each batch and precision: clips/s with one R1 penalty in 16 updates, the ratio to
float32, the share of the matrix rate that the counted operations of an update without penalty reach, and peak memory; then
frames/s of the generator for clips of 16 and 128 frames. Without a GPU it prints so and exits; ``--device cpu`` tests its
logic at small sizes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.sampling import draw_latents, render
from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_times
from digan.training.config import TrainingConfig
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.types import FramePair, Latents

PRECISIONS = ("fp32", "tf32", "bf16")
R1_INTERVAL = 16
TRAINING = TrainingConfig(
    seed=0,
    start_from="",
    clips=10**9,
    batch_size=8,
    micro_batch=8,
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
    precision="fp32",
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


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Seconds per update with R1's share and without, operations of one without, and peak bytes (0 on a CPU)."""

    batch: int
    precision: str
    seconds: float
    plain_seconds: float
    arithmetic: float
    peak_bytes: int


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Mean seconds of ``times`` calls after a first one that does not count."""
    work()
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - start) / times


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Operations per second of square matrix products; the median of five rounds."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    rounds = [timed(lambda: a @ b, device, 10) for _ in range(5)]
    return 2 * size**3 / statistics.median(rounds)


def step_result(
    model: NetworkConfig, batch: int, precision: str, device: torch.device, *, updates: int, runs: int, compiled: bool
) -> StepResult:
    """Median over ``runs`` of ``updates`` updates without and as many with a penalty, weighted 15 to 1."""
    training = replace(TRAINING, batch_size=batch, micro_batch=batch, precision=precision, compile=compiled)
    set_numerics(training, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    state = TrainingState(training, model, device)
    generator = generator_for(0, "benchmark")
    frames = torch.rand(batch, 2, 3, model.resolution, model.resolution, generator=generator) * 2 - 1
    pair = FramePair(frames=frames, times=draw_time_pairs(batch, generator=generator), labels=None).to(device)

    def update(penalized: bool) -> None:
        state.clips_seen = 0 if penalized else batch
        train_step(state, [pair])

    update(True)
    with FlopCounterMode(display=False) as counter:  # it cannot count double backward
        update(False)
    found = [tuple(timed(lambda p=p: update(p), device, updates) for p in (False, True)) for _ in range(runs)]  # type: ignore[misc]
    plain, penalized = (statistics.median(kind) for kind in zip(*found, strict=True))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return StepResult(
        batch=batch,
        precision=precision,
        seconds=plain + (penalized - plain) / R1_INTERVAL,
        plain_seconds=plain,
        arithmetic=float(counter.get_total_flops()),
        peak_bytes=peak,
    )


def step_table(results: list[StepResult], rate: float) -> list[str]:
    """One line per result: ratios to fp32 at the same batch, shares of the bf16 matrix ``rate``."""
    slow = {result.batch: result.seconds for result in results if result.precision == "fp32"}
    lines = ["batch precision  clips/s  ratio to fp32  TFLOP/s  share of bf16 rate  peak GB"]
    for result in results:
        speed = result.arithmetic / result.plain_seconds
        ratio = f"{slow[result.batch] / result.seconds:13.2f}" if result.batch in slow else f"{'-':>13}"
        lines.append(
            f"{result.batch:5} {result.precision:9} {result.batch / result.seconds:8.1f}  {ratio} {speed / 1e12:8.1f}"
            f" {100 * speed / rate:17.0f} % {result.peak_bytes / 1e9:8.2f}"
        )
    return lines


def frames_a_second(model: NetworkConfig, frames: int, device: torch.device, precision: str, videos: int = 4) -> float:
    """Frames per second of ``videos`` clips, from latents to bytes."""
    generator = (
        VideoGenerator(model).reset(generator=generator_for(0, "benchmark")).eval().requires_grad_(False).to(device)
    )
    codes = draw_latents(range(videos))
    latents = Latents(content=codes.content.to(device), motion=codes.motion.to(device), labels=None)
    set_numerics(replace(TRAINING, precision=precision), device)
    times = frame_times(frames).to(device)

    def synthesize() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            render(generator, latents, times)

    return videos * frames / timed(synthesize, device, 3)


def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--batches", default="8,16,32")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--matrix", type=int, default=8192)
    parser.add_argument("--sample-resolutions", default="128,256")
    parser.add_argument("--sample-frames", default="16,128")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args(argv)
    try:
        device = torch.device(options.device)
    except RuntimeError:
        parser.error(f"--device {options.device}: no device of PyTorch; use cuda, cuda:1 or cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing measured (torch.cuda.is_available() is false); --device cpu tests the logic only")
        return
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        parser.error(f"--device {options.device}: PyTorch sees {torch.cuda.device_count()} GPUs, counted from 0")

    def model(resolution: int) -> NetworkConfig:
        return NetworkConfig(
            resolution=resolution,
            channel_base=32768,
            channel_max=options.channels,
            mapping_layers=2,
            modulation_rank=10,
            classes=0,
        )

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = matrix_rate(device, torch.bfloat16, options.matrix)
    print(f"{name}, torch {torch.__version__}; bf16 products of {options.matrix}: {rate / 1e12:.1f} TFLOP/s")
    results = [
        step_result(
            model(options.resolution),
            int(batch),
            precision,
            device,
            updates=options.updates,
            runs=options.runs,
            compiled=options.compile,
        )
        for batch in options.batches.split(",")
        for precision in PRECISIONS
    ]
    print(
        f"step at {options.resolution}x{options.resolution}/{options.channels}, one R1 penalty in {R1_INTERVAL} updates"
    )
    print("\n".join(step_table(results, rate)))
    print("generator, frames/s to bytes:")
    for resolution in map(int, options.sample_resolutions.split(",")):
        for frames in map(int, options.sample_frames.split(",")):
            found = {p: frames_a_second(model(resolution), frames, device, p) for p in PRECISIONS}
            rates = ", ".join(f"{p} {value:.1f}" for p, value in found.items())
            print(
                f"{resolution}x{resolution}, {frames} frames: {rates}; bf16 is {found['bf16'] / found['fp32']:.2f} times fp32"
            )


if __name__ == "__main__":
    main()
