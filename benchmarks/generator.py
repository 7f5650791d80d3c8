"""Claim: the generator synthesizes 16 frames of 128x128 at least 2.5 times as fast as a plain implementation of the same function.

Run: python -m benchmarks.generator [--threads 2] [--runs 5] [--resolution 128] [--channels 512] [--frames 16].
Alternates the two and prints each ratio with the machine's matrix rate.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.sampling import draw_latents
from digan.seeding import generator_for
from digan.times import frame_times
from tests.digan.models.plain_synthesis import plain_synthesis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = NetworkConfig(
        resolution=options.resolution,
        channel_base=32768,
        channel_max=options.channels,
        mapping_layers=2,
        modulation_rank=10,
        classes=0,
    )
    generator = VideoGenerator(config).reset(generator=generator_for(0, "benchmark")).eval().requires_grad_(False)
    parameters = sum(p.numel() for p in generator.parameters())
    print(
        f"{parameters / 1e6:.1f} M parameters, one video, {options.frames} frames of "
        f"{options.resolution}x{options.resolution}, float32, {options.threads} threads"
    )
    latents = draw_latents([0])
    times = frame_times(options.frames)[None]
    state = generator.state_dict()

    @torch.inference_mode()
    def ours() -> torch.Tensor:
        ws = generator.broadcast_w(generator.mapping(latents.content, None))
        prepared = generator.synthesis.prepare(ws, latents.motion)
        return generator.synthesis.synthesize(prepared, times)

    def plain() -> torch.Tensor:
        ws = generator.broadcast_w(generator.mapping(latents.content, None))
        return plain_synthesis(
            state, ws, latents.motion, times, resolution=options.resolution, rank=config.modulation_rank
        )

    error = (ours() - plain()).abs().max() / plain().abs().max()
    print(f"largest difference: {error:.1e} relative")
    size = 2048
    a = torch.randn(size, size)
    rows = []
    for _ in range(options.runs):
        seconds = []
        for function in (ours, plain, lambda: a @ a):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
        rows.append(seconds)
        print(
            f"ours {seconds[0]:.2f} s, plain {seconds[1]:.2f} s, ratio {seconds[1] / seconds[0]:.2f}, "
            f"matrix products {2 * size**3 / seconds[2] / 1e9:.0f} GFLOP/s"
        )
    print(
        f"median: ours {statistics.median(r[0] for r in rows):.2f} s, plain {statistics.median(r[1] for r in rows):.2f} s, "
        f"ratio {statistics.median(r[1] / r[0] for r in rows):.2f}"
    )


if __name__ == "__main__":
    main()
