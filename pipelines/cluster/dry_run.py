"""A preview of a training: sizes of the networks, and time and memory from a few measured updates on this machine."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from digan.models.config import NetworkConfig
from digan.models.discriminator import PairDiscriminator
from digan.models.generator import VideoGenerator
from digan.seeding import generator_for
from digan.system import peak_memory
from digan.times import draw_time_pairs
from digan.training.config import TrainingConfig
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.types import FramePair
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.report.text_format import duration, grouped

BYTES = 4  # of a float32 value
MEASURED_UPDATES = 2  # with and without the R1 penalty each, after one of each as warm-up


def measure(training: TrainingConfig, model: NetworkConfig, *, threads: int) -> tuple[float, float, str]:
    """Seconds per micro-batch of noise (mean over an R1 interval), peak bytes of GPU or process, and the device's name."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.set_num_threads(threads)
    set_numerics(training, device)
    size, generator = training.micro_batch, generator_for(0, "dry run")
    state = TrainingState(replace(training, batch_size=size), model, device)
    frames = torch.rand(size, 2, 3, model.resolution, model.resolution, generator=generator) * 2 - 1
    times, labels = draw_time_pairs(size, generator=generator), torch.zeros(size, dtype=torch.int64)
    pair = FramePair(frames=frames, times=times, labels=labels if model.classes else None)

    def seconds_at(clips_seen: int) -> float:
        state.clips_seen, begun = clips_seen, time.perf_counter()
        train_step(state, [pair])
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    unpenalized = 0 if training.r1_interval == 1 else size  # clips seen at an update without the R1 penalty
    rounds = [(seconds_at(0), seconds_at(unpenalized)) for _ in range(1 + MEASURED_UPDATES)]
    with_r1, without = map(min, zip(*rounds[1:], strict=True))
    mean = without + (with_r1 - without) / training.r1_interval
    if on_gpu:
        return mean, torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
    return mean, peak_memory(), f"CPU, {threads} threads per worker"


def counts(model: NetworkConfig) -> dict[str, int]:
    """Number of parameters of each network, and of the discriminator's two parts."""
    with torch.device("meta"):
        generator, discriminator = VideoGenerator(model), PairDiscriminator(model)
    networks = {"generator": generator, "discriminator": discriminator}
    networks |= {"  image": discriminator.image, "  motion": discriminator.motion}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def show(training: TrainingConfig, model: NetworkConfig, cluster: ClusterConfig) -> str:
    """Sizes of the networks, memory and time as text; takes six updates of a micro-batch."""
    sizes = counts(model)
    # weights, gradients and Adam's two moments; the generator EMA has weights alone; checkpoints have no gradients
    state = BYTES * (sizes["generator"] * 5 + sizes["discriminator"] * 4)
    saved = BYTES * (sizes["generator"] * 4 + sizes["discriminator"] * 3)
    seconds, peak, device = measure(training, model, threads=cluster.cpus_per_worker)
    update = -(-training.micro_batches // cluster.workers) * seconds
    total = duration(training.clips / training.batch_size * update)
    lines = [
        f"networks at {model.resolution}x{model.resolution}, {model.classes} classes:",
        *(f"  {name:15} {grouped(count):>12} parameters" for name, count in sizes.items()),
        "",
        f"measured here ({device}), micro-batches of {training.micro_batch} in {training.precision}:",
        f"  memory of a worker      {peak / 1e9:.2f} GB at its peak",
        f"  of which state          {state / 1e9:.2f} GB: weights, gradients, moments",
        f"  a checkpoint            {saved / 1e6:.0f} MB; writing it needs twice as much memory",
        f"  a micro-batch           {seconds:.3f} s",
        f"  an update               {update:.3f} s: {training.micro_batches} micro-batches over {cluster.workers} workers",
        f"  clips a second          {training.batch_size / update:.1f}, without data, communication and checkpoints",
        f"  {grouped(training.clips)} clips  {total} on {cluster.workers} such workers",
    ]
    if cluster.gpus_per_worker and not torch.cuda.is_available():
        lines.append("  note: cluster.gpus_per_worker asks for GPUs and this machine has none: the time is for its CPU")
    return "\n".join(lines)
