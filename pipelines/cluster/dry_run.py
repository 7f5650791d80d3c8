"""What a training would be, without one: the resolved parameters, the networks' sizes, and a few measured updates on this machine."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace

import torch

from digan.models.config import NetworkConfig
from digan.models.discriminator import PairDiscriminator
from digan.models.generator import VideoGenerator
from digan.seeding import generator_for
from digan.times import draw_time_pairs
from digan.training.config import TrainingConfig
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.types import FramePair
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.report.text_format import duration, grouped

SIZES = 4  # bytes of a number
MEASURED_UPDATES = 2  # of each kind, with and without the R1 penalty, after one of each that is not counted


@dataclass(frozen=True, kw_only=True)
class MicroBatchCost:
    """One micro-batch on this machine: seconds on average over an update's round, peak bytes of its process or device."""

    seconds: float
    peak_bytes: int
    device: str


def measure(training: TrainingConfig, model: NetworkConfig, *, threads: int) -> MicroBatchCost:
    """Runs a few updates of one micro-batch of noise; on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(threads)
    set_numerics(training, device)
    alone = replace(training, batch_size=training.micro_batch)
    state = TrainingState(alone, model, device)
    size, generator = alone.micro_batch, generator_for(0, "dry run")
    pair = FramePair(
        frames=torch.rand(size, 2, 3, model.resolution, model.resolution, generator=generator) * 2 - 1,
        times=draw_time_pairs(size, generator=generator),
        labels=torch.zeros(size, dtype=torch.int64) if model.classes else None,
    )
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(1 + MEASURED_UPDATES):
        for penalized in (True, False):
            step = 0 if penalized or alone.r1_interval == 1 else 1
            state.clips_seen = step * size
            begun = time.perf_counter()
            train_step(state, [pair])
            if device.type == "cuda":
                torch.cuda.synchronize()
            found[penalized].append(time.perf_counter() - begun)
    with_r1, without = (min(found[kind][1:]) for kind in (True, False))
    seconds = without + (with_r1 - without) / alone.r1_interval
    if device.type == "cuda":
        return MicroBatchCost(
            seconds=seconds, peak_bytes=torch.cuda.max_memory_allocated(), device=torch.cuda.get_device_name()
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return MicroBatchCost(seconds=seconds, peak_bytes=peak, device=f"CPU, {threads} threads a worker")


def counts(model: NetworkConfig) -> dict[str, int]:
    """Parameters of each network, and of the discriminator's two parts."""
    with torch.device("meta"):
        generator, discriminator = VideoGenerator(model), PairDiscriminator(model)
    networks = {
        "generator": generator,
        "discriminator": discriminator,
        "  image": discriminator.image,
        "  motion": discriminator.motion,
    }
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def show(training: TrainingConfig, model: NetworkConfig, cluster: ClusterConfig) -> str:
    """Sizes of the networks, memory and time, as text; takes as long as six updates of a micro-batch."""
    sizes = counts(model)
    lines = [f"networks at {model.resolution}x{model.resolution}, {model.classes} classes:"]
    lines += [f"  {name:15} {grouped(count):>12} parameters" for name, count in sizes.items()]
    # values, gradients, two moments of Adam; the average has values alone
    state = SIZES * (sizes["generator"] * 5 + sizes["discriminator"] * 4)
    saved = SIZES * (sizes["generator"] * 4 + sizes["discriminator"] * 3)
    cost = measure(training, model, threads=cluster.cpus_per_worker)
    rounds = -(-training.micro_batches // cluster.workers)
    update = rounds * cost.seconds
    lines += [
        "",
        f"measured here ({cost.device}), micro-batches of {training.micro_batch} in {training.precision}:",
        f"  memory of a worker      {cost.peak_bytes / 1e9:.2f} GB at its peak",
        f"  of it state             {state / 1e9:.2f} GB: weights, gradients, moments",
        f"  a checkpoint            {saved / 1e6:.0f} MB, and as much twice over in memory while it is written",
        f"  a micro-batch           {cost.seconds:.3f} s",
        f"  an update               {update:.3f} s: {training.micro_batches} micro-batches over {cluster.workers} workers",
        f"  clips a second          {training.batch_size / update:.1f}, without data, communication and checkpoints",
        f"  {grouped(training.clips)} clips  {duration(training.clips / training.batch_size * update)} on {cluster.workers} such workers",
    ]
    if cluster.gpus_per_worker and not torch.cuda.is_available():
        lines.append("  note: cluster.gpus_per_worker asks for GPUs and this machine has none: the time is a CPU's")
    return "\n".join(lines)
