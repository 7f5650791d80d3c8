"""Claim: a training step is at least 1.5 times as fast as a plain one in float32, and 2 times with bf16, at the same loss.

Run: python -m benchmarks.plain_step [--threads 2] [--runs 3] [--resolution 64] [--channels 128] [--steps 2].
The plain step is this project's without its optimizations: synthesis as the paper describes it (matrices, grid and sines for every
frame), contiguous layout, separate passes for fake and real, one Adam per tensor, float32. Losses of the first update are compared:
float32 within 1e-3, bf16 within 2e-2 relative.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from benchmarks.train_step import BATCH, training_config
from digan.models.config import NetworkConfig
from digan.models.discriminator import Discriminator, minibatch_deviation
from digan.ops.layers import LRELU_GAIN, lrelu
from digan.seeding import generator_for
from digan.times import draw_time_pairs
from digan.training.loop import train_step
from digan.training.micro_batch import MicroBatch
from digan.training.state import TrainingState
from digan.types import FramePair, Scores
from tests.digan.models.plain_synthesis import plain_synthesis

TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2}


def _contiguous(
    self: Discriminator, x: torch.Tensor, labels: torch.Tensor | None = None, *, batches: int = 1
) -> torch.Tensor:
    x = lrelu(self.from_rgb(x.contiguous(), gain=LRELU_GAIN))
    for block in self.blocks:
        x = block(x)
    x = lrelu(self.conv(torch.cat([x, minibatch_deviation(x, batches=batches)], dim=1), gain=LRELU_GAIN))
    return self.out(self.dense(x.flatten(1))).float()


def _discriminate_separately(
    self: MicroBatch, fake: FramePair, real: FramePair, generator: torch.Generator
) -> tuple[Scores, Scores]:
    return self.discriminate(fake, generator), self.discriminate(real, generator)


class Contender:
    """A training state with plain or optimized steps on the same pairs, and its times."""

    def __init__(self, model: NetworkConfig, precision: str, *, plain: bool) -> None:
        self.state = TrainingState(training_config(precision), model, torch.device("cpu"))
        self.plain, self.precision = plain, precision
        generator = generator_for(0, "benchmark")
        frames = torch.rand(BATCH, 2, 3, model.resolution, model.resolution, generator=generator) * 2 - 1
        self.pair = FramePair(frames=frames, times=draw_time_pairs(BATCH, generator=generator), labels=None)
        if plain:
            self._make_plain(model)
        self.seconds: list[float] = []
        first = self.step()  # the first update holds a penalty and all allocations
        self.losses = {name: float(first[name]) for name in ("loss/generator", "loss/discriminator")}

    def _make_plain(self, model: NetworkConfig) -> None:
        state, synthesis = self.state, plain_synthesis.__wrapped__  # without its no_grad
        weights = dict(state.generator.named_parameters())

        def synthesize(ws: torch.Tensor, motion: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            return synthesis(weights, ws, motion, times, resolution=model.resolution, rank=model.modulation_rank)

        state.synthesize = synthesize
        for name in ("generator", "discriminator"):
            group = getattr(state, f"{name}_optimizer").param_groups[0]
            parameters = list(getattr(state, name).parameters())
            adam = torch.optim.Adam(parameters, lr=group["lr"], betas=group["betas"], eps=group["eps"], foreach=False)
            setattr(state, f"{name}_optimizer", adam)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        if not self.plain:
            yield
            return
        with (
            mock.patch.object(Discriminator, "forward", _contiguous),
            mock.patch.object(MicroBatch, "discriminate_both", _discriminate_separately),
        ):
            yield

    def step(self) -> dict[str, torch.Tensor]:
        with self._patched():
            return train_step(self.state, [self.pair]).values

    def time(self, steps: int) -> None:
        """Updates without a penalty."""
        self.state.clips_seen = BATCH
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.seconds.append((time.perf_counter() - start) / steps)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = NetworkConfig(
        resolution=options.resolution,
        channel_base=32768,
        channel_max=options.channels,
        mapping_layers=2,
        modulation_rank=10,
        classes=0,
    )
    plain = Contender(model, "fp32", plain=True)
    ours = {precision: Contender(model, precision, plain=False) for precision in TOLERANCE}
    for _ in range(options.runs):
        for contender in (plain, *ours.values()):
            contender.time(options.steps)
    print(
        f"{options.resolution}x{options.resolution}/{options.channels}, batch {BATCH}, {options.threads} threads, {options.runs} runs"
    )
    base = statistics.median(plain.seconds)
    print(f"plain fp32  {BATCH / base:6.2f} clips/s")
    for precision, contender in ours.items():
        ratios = sorted(p / o for p, o in zip(plain.seconds, contender.seconds, strict=True))
        difference = max(abs(value / plain.losses[name] - 1) for name, value in contender.losses.items())
        agreement = "agree" if difference <= TOLERANCE[precision] else "DIFFER"
        print(
            f"ours {precision}   {BATCH / statistics.median(contender.seconds):6.2f} clips/s, ratio {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}), first losses {agreement} ({difference:.1e} relative)"
        )


if __name__ == "__main__":
    main()
