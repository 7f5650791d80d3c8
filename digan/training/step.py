"""The phases of one update, in the order that ``loop.train_step`` gives (DIGAN, Section 3.2 and appendix).

Each phase accumulates the gradients of this worker's micro-batches in a flat buffer, averages gradients and metrics over
all workers by one all-reduce, and takes one Adam step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from digan.models.config import CODE_DIM
from digan.training.ema import ema_decay
from digan.training.losses import (
    discriminator_loss_fake,
    discriminator_loss_real,
    generator_loss,
    gradient_penalty,
    mismatch_loss,
    path_lengths,
)
from digan.training.micro_batch import MicroBatch
from digan.training.parameter_buffer import ParameterBuffer
from digan.training.state import TrainingState
from digan.types import FramePair

PATH_LENGTH_DECAY = 0.01
SCORES = ("fake_image", "fake_motion", "real_image", "real_motion")
DISCRIMINATOR_METRICS = ("loss/discriminator", *(f"{kind}/{name}" for kind in ("logits", "signs") for name in SCORES))


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """Metrics of one update, averaged over the micro-batches of all workers, and so equal on all of them.

    ``values`` maps names to scalar tensors on the device.
    """

    values: dict[str, torch.Tensor]


@contextmanager
def _frozen(network: torch.nn.Module) -> Iterator[None]:
    """Turn off gradients of the network's weights; gradients still flow through it to its inputs."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class Update:
    """One update with this worker's micro-batches of real pairs, one ``FramePair`` each.

    ``metrics`` collects the metrics of the phases, averaged over all micro-batches.
    """

    def __init__(self, state: TrainingState, pairs: Sequence[FramePair], *, rank: int, world_size: int) -> None:
        indices = micro_batch_indices(rank, world_size, state.training.micro_batches)
        sizes = [pair.frames.shape[0] for pair in pairs]
        assert sizes == [state.training.micro_batch] * len(indices), (sizes, rank, world_size)
        self.state, self.world_size = state, world_size
        self.micro_batches = [MicroBatch(state, pair, index) for index, pair in zip(indices, pairs, strict=True)]
        self.metrics: dict[str, torch.Tensor] = {}

    def all_reduce_gradients(self, buffer: ParameterBuffer, name: str | None = None) -> None:
        """Average gradients and extra values over all micro-batches; records the gradient norm under ``name``."""
        buffer.all_reduce_mean(self.state.training.micro_batches, self.world_size)
        if name is not None:
            self.metrics[f"gradients/{name}"] = torch.linalg.vector_norm(buffer.gradients)

    def update_generator(self) -> None:
        """Step G on the non-saturating loss of generated pairs, and update w_avg."""
        state, buffer = self.state, self.state.generator_buffer
        buffer.clear()
        for micro_batch in self.micro_batches:
            generator = micro_batch.draws("generator")
            with _frozen(state.discriminator), micro_batch.autocast():
                fake = micro_batch.fake(generator)
                loss = generator_loss(micro_batch.discriminate(fake.pair, generator))
            loss.backward()
            buffer.extra[:CODE_DIM] += fake.w.detach().mean(dim=0)
            buffer.extra[CODE_DIM] += loss.detach()
        self.all_reduce_gradients(buffer, "generator")
        state.generator.mapping.update_w_avg(buffer.extra[:CODE_DIM])
        state.generator_optimizer.step()
        self.metrics["loss/generator"] = buffer.extra[CODE_DIM].clone()

    def penalize_path_lengths(self) -> None:
        """Step G on the path length penalty (StyleGAN2, Section 3.2), times the interval; float32, not compiled."""
        state, buffer, weight = self.state, self.state.generator_buffer, self.state.training.path_length_weight
        buffer.clear()
        for micro_batch in self.micro_batches:
            generator = micro_batch.draws("path_length")
            fake = micro_batch.fake(generator, compiled=False)
            noise = torch.randn(fake.pair.frames.shape, generator=generator).to(state.device)
            lengths = path_lengths(fake.pair.frames, fake.ws, noise)
            mean = state.path_length_mean.lerp(lengths.detach().mean(), PATH_LENGTH_DECAY)
            loss = (lengths - mean).square().mean() * (weight * state.training.generator_interval)
            loss.backward()
            buffer.extra[CODE_DIM] += mean
            buffer.extra[CODE_DIM + 1] += loss.detach()
        self.all_reduce_gradients(buffer)
        state.path_length_mean = buffer.extra[CODE_DIM].clone()
        state.generator_optimizer.step()
        self.metrics["loss/path_length"] = buffer.extra[CODE_DIM + 1].clone()

    def update_discriminator(self) -> None:
        """Step D on the logistic loss of fake and real pairs and, with ``mismatch_weight``, of real pairs with a wrong dt."""
        state, buffer = self.state, self.state.discriminator_buffer
        buffer.clear()
        for micro_batch in self.micro_batches:
            generator = micro_batch.draws("discriminator")
            with micro_batch.autocast():
                with torch.no_grad():
                    fake_pair = micro_batch.fake(generator).pair
                fake, real = micro_batch.discriminate_both(fake_pair, micro_batch.pair, generator)
                loss = discriminator_loss_fake(fake) + discriminator_loss_real(real)
                if weight := state.training.mismatch_weight:
                    loss = loss + weight * mismatch_loss(
                        micro_batch.discriminate_mismatched(micro_batch.draws("mismatch"))
                    )
            loss.backward()
            logits = [scores.detach() for scores in (fake.image, fake.motion, real.image, real.motion)]
            statistics = [loss.detach(), *(x.mean() for x in logits), *(x.sign().mean() for x in logits)]
            buffer.extra[: len(statistics)] += torch.stack(statistics)
        self.all_reduce_gradients(buffer, "discriminator")
        state.discriminator_optimizer.step()
        self.metrics |= dict(zip(DISCRIMINATOR_METRICS, buffer.extra.clone(), strict=False))

    def penalize_real_gradients(self) -> None:
        """Step D on the R1 penalty (Mescheder et al., 2018; lazy as in StyleGAN2, Section 3.1), times the interval.

        float32, not compiled.
        """
        state, buffer = self.state, self.state.discriminator_buffer
        gamma, interval = state.training.r1_gamma, state.training.r1_interval
        buffer.clear()
        for micro_batch in self.micro_batches:
            images, motions = (
                x.detach().requires_grad_() for x in micro_batch.inputs(micro_batch.pair, micro_batch.draws("r1"))
            )
            scores = state.discriminator(images, motions, micro_batch.pair.labels)
            penalty = gradient_penalty(scores.image, images).mean() + gradient_penalty(scores.motion, motions).mean()
            (penalty * (gamma / 2 * interval)).backward()
            buffer.extra[0] += penalty.detach() * (gamma / 2)
        self.all_reduce_gradients(buffer, "r1")
        state.discriminator_optimizer.step()
        self.metrics["loss/r1"] = buffer.extra[0].clone()

    def update_ema(self) -> None:
        """Move the generator EMA towards the generator (ema.py)."""
        state, training = self.state, self.state.training
        decay = ema_decay(
            batch=training.batch_size,
            clips_seen=state.clips_seen,
            half_life=training.ema_half_life,
            ramp=training.ema_ramp,
        )
        with torch.no_grad():
            state.generator_ema_buffer.values.lerp_(state.generator_buffer.values, 1.0 - decay)
            state.generator_ema.mapping.average.copy_(state.generator.mapping.average)


def micro_batch_indices(rank: int, world_size: int, micro_batches: int) -> range:
    """The micro-batches of one worker; workers may get different numbers of them."""
    return range(rank, micro_batches, world_size)
