"""The phases of one update (DIGAN, Section 3.2 and the training details in its appendix); ``loop.train_step`` gives their order.

Every phase adds up the gradients of this worker's micro-batches in a flat buffer, averages them over all workers by one all-reduce,
which also carries the phase's metrics, and takes one Adam step.
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
JUDGED = ("fake_image", "fake_motion", "real_image", "real_motion")
OF_DISCRIMINATOR = ("loss/discriminator", *(f"{kind}/{name}" for kind in ("logits", "signs") for name in JUDGED))


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one update measured, averaged over all micro-batches of all workers, so equal on every worker.

    ``values``: name -> scalar tensor on the device, to be fetched now and then.
    """

    values: dict[str, torch.Tensor]


@contextmanager
def _frozen(network: torch.nn.Module) -> Iterator[None]:
    """Inside, the network's weights get no gradients; gradients still flow through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class Update:
    """One update by this worker's micro-batches; ``pairs`` has the real ones, one ``FramePair`` for each.

    ``metrics`` gathers what the phases measure, averaged over all micro-batches.
    """

    def __init__(self, state: TrainingState, pairs: Sequence[FramePair], *, rank: int, world: int) -> None:
        numbers = micro_batch_indices(rank, world, state.training.micro_batches)
        assert [pair.frames.shape[0] for pair in pairs] == [state.training.micro_batch] * len(numbers), (rank, world)
        self.state, self.world = state, world
        self.micros = [MicroBatch(state, pair, number) for number, pair in zip(numbers, pairs, strict=True)]
        self.metrics: dict[str, torch.Tensor] = {}

    def all_reduce_gradients(self, flat: ParameterBuffer, name: str | None = None) -> None:
        """Average gradients and metrics over all micro-batches; the gradients' norm is a metric under ``name``."""
        flat.all_reduce_mean(self.state.training.micro_batches, self.world)
        if name is not None:
            self.metrics[f"gradients/{name}"] = torch.linalg.vector_norm(flat.gradients)

    def update_generator(self) -> None:
        """Non-saturating logistic loss of fresh fakes (Goodfellow et al., 2014), and the running mean of w."""
        state, flat = self.state, self.state.generator_buffer
        flat.clear()
        for micro in self.micros:
            generator = micro.draws("generator")
            with _frozen(state.discriminator), micro.autocast():
                fake = micro.fake(generator)
                loss = generator_loss(micro.discriminate(fake.pair, generator))
            loss.backward()
            flat.extra[:CODE_DIM] += fake.w.detach().mean(dim=0)
            flat.extra[CODE_DIM] += loss.detach()
        self.all_reduce_gradients(flat, "generator")
        state.generator.mapping.update_w_avg(flat.extra[:CODE_DIM])
        state.generator_optimizer.step()
        self.metrics["loss/generator"] = flat.extra[CODE_DIM].clone()

    def penalize_path_lengths(self) -> None:
        """Path length regularization (StyleGAN2, Section 3.2), weighted by the interval; float32, never compiled."""
        state, flat, weight = self.state, self.state.generator_buffer, self.state.training.path_length_weight
        flat.clear()
        for micro in self.micros:
            generator = micro.draws("path_length")
            fake = micro.fake(generator, compiled=False)
            noise = torch.randn(fake.pair.frames.shape, generator=generator).to(state.device)
            lengths = path_lengths(fake.pair.frames, fake.ws, noise)
            mean = state.path_length_mean.lerp(lengths.detach().mean(), PATH_LENGTH_DECAY)
            loss = (lengths - mean).square().mean() * (weight * state.training.generator_interval)
            loss.backward()
            flat.extra[CODE_DIM] += mean
            flat.extra[CODE_DIM + 1] += loss.detach()
        self.all_reduce_gradients(flat)
        state.path_length_mean = flat.extra[CODE_DIM].clone()
        state.generator_optimizer.step()
        self.metrics["loss/path_length"] = flat.extra[CODE_DIM + 1].clone()

    def update_discriminator(self) -> None:
        """Logistic loss of both discriminators on fakes, real pairs and, with ``mismatch_weight``, real pairs at a wrong dt."""
        state, flat = self.state, self.state.discriminator_buffer
        flat.clear()
        for micro in self.micros:
            generator = micro.draws("discriminator")
            with micro.autocast():
                with torch.no_grad():
                    fake_pair = micro.fake(generator).pair
                fake, real = micro.discriminate_both(fake_pair, micro.pair, generator)
                loss = discriminator_loss_fake(fake) + discriminator_loss_real(real)
                if weight := state.training.mismatch_weight:
                    loss = loss + weight * mismatch_loss(micro.discriminate_mismatched(micro.draws("mismatch")))
            loss.backward()
            logits = [scores.detach() for scores in (fake.image, fake.motion, real.image, real.motion)]
            measured = [loss.detach(), *(x.mean() for x in logits), *(x.sign().mean() for x in logits)]
            flat.extra[: len(measured)] += torch.stack(measured)
        self.all_reduce_gradients(flat, "discriminator")
        state.discriminator_optimizer.step()
        self.metrics |= dict(zip(OF_DISCRIMINATOR, flat.extra.clone(), strict=False))

    def penalize_real_gradients(self) -> None:
        """Lazy R1 (Mescheder et al., 2018; StyleGAN2, Section 3.1), weighted by the interval; float32, never compiled."""
        state, flat = self.state, self.state.discriminator_buffer
        gamma, interval = state.training.r1_gamma, state.training.r1_interval
        flat.clear()
        for micro in self.micros:
            images, motions = (x.detach().requires_grad_() for x in micro.inputs(micro.pair, micro.draws("r1")))
            scores = state.discriminator(images, motions, micro.pair.labels)
            penalty = gradient_penalty(scores.image, images).mean() + gradient_penalty(scores.motion, motions).mean()
            (penalty * (gamma / 2 * interval)).backward()
            flat.extra[0] += penalty.detach() * (gamma / 2)
        self.all_reduce_gradients(flat, "r1")
        state.discriminator_optimizer.step()
        self.metrics["loss/r1"] = flat.extra[0].clone()

    def update_ema(self) -> None:
        """Move the EMA generator towards the trained one (ema.py)."""
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


def micro_batch_indices(rank: int, world: int, micro_batches: int) -> range:
    """The micro-batches of one worker; workers may have different counts, and one with none would idle."""
    return range(rank, micro_batches, world)
