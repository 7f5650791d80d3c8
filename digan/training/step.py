"""One update of everything: generator, discriminators, now and then a penalty, then the averages (spec 'Training').

Legend: B pairs of this worker, H, W.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from digan.models.config import CODE_DIM
from digan.models.discriminator import split_pair
from digan.seeding import generator_for
from digan.times import draw_time_pairs
from digan.training.augment import augment
from digan.training.ema import ema_decay
from digan.training.losses import (
    discriminator_loss_fake,
    discriminator_loss_real,
    generator_loss,
    gradient_penalty,
    path_lengths,
)
from digan.training.state import TrainingState
from digan.types import FramePair, Latents, Scores

PATH_LENGTH_DECAY = 0.01


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one update measured on this worker: name -> scalar tensor on the device, to be fetched now and then."""

    values: dict[str, torch.Tensor]


@contextmanager
def _frozen(network: torch.nn.Module) -> Iterator[None]:
    """Inside, the network's weights get no gradients; gradients still flow through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class _Worker:
    """The pieces of an update that share the state and the step's random draws."""

    def __init__(self, state: TrainingState, pair: FramePair, *, rank: int, world: int) -> None:
        self.state, self.pair, self.rank, self.world = state, pair.to(state.device), rank, world
        self.batch = pair.frames.shape[0]
        self.metrics: dict[str, torch.Tensor] = {}

    def draws(self, phase: str) -> torch.Generator:
        return generator_for(self.state.training.seed, phase, self.rank, self.state.clips_seen)

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.state.training.precision == "bf16"
        return torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=enabled)

    def latents(self, generator: torch.Generator) -> Latents:
        codes = torch.randn(2, self.batch, CODE_DIM, generator=generator).to(self.state.device)
        return Latents(content=codes[0], motion=codes[1], labels=self.pair.labels)

    def fake_pair(self, generator: torch.Generator, *, keep: dict[str, torch.Tensor] | None = None) -> FramePair:
        """Frames at two fresh times of fresh videos; ``keep`` receives the ws and the mapped w."""
        state, network = self.state, self.state.generator
        latents = self.latents(generator)
        times = draw_time_pairs(self.batch, generator=generator).to(state.device)
        w = network.mapping(latents.content, latents.labels)
        ws = network.spread(w)
        if state.training.style_mixing > 0:
            ws = self.mix_styles(ws, latents, generator)
        frames = network.synthesis.paint(network.synthesis.prepare(ws, latents.motion), times)
        if keep is not None:
            keep.update(w=w, ws=ws)
        return FramePair(frames=frames, times=times, labels=latents.labels)

    def mix_styles(self, ws: torch.Tensor, latents: Latents, generator: torch.Generator) -> torch.Tensor:
        """From a random layer on, another content's w, for a share of the videos."""
        count = ws.shape[1]
        others = self.state.generator.mapping(self.latents(generator).content, latents.labels)
        cutoff = torch.randint(1, count, (self.batch, 1), generator=generator)
        mixes = torch.rand(self.batch, 1, generator=generator) < self.state.training.style_mixing
        swap = (mixes & (torch.arange(count)[None] >= cutoff)).to(ws.device)
        return torch.where(swap[..., None], others[:, None], ws)

    def judge(self, pair: FramePair, generator: torch.Generator) -> Scores:
        images, motions = self.inputs(pair, generator)
        return self.state.discriminator(images, motions, pair.labels)

    def judge_both(self, fake: FramePair, real: FramePair, generator: torch.Generator) -> tuple[Scores, Scores]:
        """Scores of fake and real pairs from one pass: the two never meet in it, the larger batch is faster."""
        inputs = [self.inputs(pair, generator) for pair in (fake, real)]
        images, motions = (torch.cat(parts) for parts in zip(*inputs, strict=True))
        labels = None if real.labels is None else real.labels.repeat(2)
        both = self.state.discriminator(images, motions, labels, batches=2)
        of_images, of_motions = both.image.chunk(2), both.motion.chunk(2)
        return tuple(Scores(image=i, motion=m) for i, m in zip(of_images, of_motions, strict=True))  # type: ignore[return-value]

    def inputs(self, pair: FramePair, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        frames = augment(pair.frames, self.state.training.augment_steps, generator=generator)
        return split_pair(frames, pair.times[:, 1] - pair.times[:, 0])

    def update_generator(self) -> None:
        state = self.state
        generator = self.draws("generator")
        state.flat_generator.clear()
        kept: dict[str, torch.Tensor] = {}
        with _frozen(state.discriminator), self.autocast():
            loss = generator_loss(self.judge(self.fake_pair(generator, keep=kept), generator))
        loss.backward()
        state.flat_generator.extra.copy_(kept["w"].detach().mean(dim=0))
        state.flat_generator.average(self.world)
        state.generator.mapping.follow(state.flat_generator.extra)
        state.generator_optimizer.step()
        self.metrics["loss/generator"] = loss.detach()

    def penalise_path_lengths(self) -> None:
        state, weight = self.state, self.state.training.path_length_weight
        if weight == 0 or state.step % state.training.generator_interval:
            return
        generator = self.draws("path_length")
        state.flat_generator.clear()
        kept: dict[str, torch.Tensor] = {}
        frames = self.fake_pair(generator, keep=kept).frames
        noise = torch.randn(frames.shape, generator=generator).to(state.device)
        lengths = path_lengths(frames, kept["ws"], noise)
        mean = state.path_length_mean.lerp(lengths.detach().mean(), PATH_LENGTH_DECAY)
        loss = (lengths - mean).square().mean() * (weight * state.training.generator_interval)
        loss.backward()
        state.flat_generator.extra[0] = mean
        state.flat_generator.average(self.world)
        state.path_length_mean = state.flat_generator.extra[0].clone()
        state.generator_optimizer.step()
        self.metrics["loss/path_length"] = loss.detach()

    def update_discriminator(self) -> None:
        state = self.state
        generator = self.draws("discriminator")
        state.flat_discriminator.clear()
        with self.autocast():
            with torch.no_grad():
                fake_pair = self.fake_pair(generator)
            fake, real = self.judge_both(fake_pair, self.pair, generator)
            loss = discriminator_loss_fake(fake) + discriminator_loss_real(real)
        loss.backward()
        state.flat_discriminator.average(self.world)
        state.discriminator_optimizer.step()
        self.metrics["loss/discriminator"] = loss.detach()
        for name, scores in (("fake", fake), ("real", real)):
            self.metrics[f"logits/{name}_image"] = scores.image.detach().mean()
            self.metrics[f"logits/{name}_motion"] = scores.motion.detach().mean()

    def penalise_real_gradients(self) -> None:
        """Lazy R1: its own update every ``r1_interval`` steps, its gradient times that interval; always in float32."""
        state, gamma, interval = self.state, self.state.training.r1_gamma, self.state.training.r1_interval
        if gamma == 0 or state.step % interval:
            return
        state.flat_discriminator.clear()
        images, motions = (x.detach().requires_grad_() for x in self.inputs(self.pair, self.draws("r1")))
        scores = state.discriminator(images, motions, self.pair.labels)
        penalty = gradient_penalty(scores.image, images).mean() + gradient_penalty(scores.motion, motions).mean()
        (penalty * (gamma / 2 * interval)).backward()
        state.flat_discriminator.average(self.world)
        state.discriminator_optimizer.step()
        self.metrics["loss/r1"] = penalty.detach() * (gamma / 2)

    def update_average(self) -> None:
        state, training = self.state, self.state.training
        decay = ema_decay(
            batch=training.batch_size,
            clips_seen=state.clips_seen,
            half_life=training.ema_half_life,
            ramp=training.ema_ramp,
        )
        with torch.no_grad():
            state.flat_average.values.lerp_(state.flat_generator.values, 1.0 - decay)
            state.average.mapping.average.copy_(state.generator.mapping.average)


def train_step(state: TrainingState, pair: FramePair, *, rank: int = 0, world: int = 1) -> StepMetrics:
    """One update from this worker's real pairs, frames [B, 2, 3, H, W]; B times ``world`` is the batch."""
    assert pair.frames.shape[0] * world == state.training.batch_size, (pair.frames.shape[0], world)
    worker = _Worker(state, pair, rank=rank, world=world)
    worker.update_generator()
    worker.penalise_path_lengths()
    worker.update_discriminator()
    worker.penalise_real_gradients()
    worker.update_average()
    state.clips_seen += state.training.batch_size
    return StepMetrics(values=worker.metrics)
