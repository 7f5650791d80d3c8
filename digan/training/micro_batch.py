"""Forward passes of one micro-batch: random draws, generated pairs and discriminator scores.

The batch of an update is split into micro-batches 0, 1, .... Draws, data and minibatch statistics depend only on the
micro-batch index, so an update is the same for any assignment to workers, up to the order of summation.

Legend: B pairs of the micro-batch, H, W.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch

from digan.models.config import CODE_DIM
from digan.models.discriminator import split_pair
from digan.seeding import generator_for
from digan.times import draw_time_pairs
from digan.training.augment import augment
from digan.training.state import TrainingState
from digan.types import FramePair, Latents, Scores


@dataclass(frozen=True, kw_only=True)
class FakeBatch:
    """Generated pairs with their ``w`` [B, 512] and, per layer, ``ws`` [B, w_count, 512]."""

    pair: FramePair
    w: torch.Tensor
    ws: torch.Tensor


class MicroBatch:
    """Real pairs on the state's device, with ``index`` in the update."""

    def __init__(self, state: TrainingState, pair: FramePair, index: int) -> None:
        self.state, self.pair, self.index = state, pair.to(state.device), index
        self.size = pair.frames.shape[0]

    def draws(self, phase: str) -> torch.Generator:
        """The random generator of this micro-batch for one phase of the update."""
        return generator_for(self.state.draw_seed, phase, self.index, self.state.clips_seen)

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 autocast if ``training.precision`` is bf16, else no autocast."""
        enabled = self.state.training.precision == "bf16"
        return torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=enabled)

    def fake(self, generator: torch.Generator, *, compiled: bool = True) -> FakeBatch:
        """Generate pairs from fresh latents and times; ``compiled=False`` if the result is differentiated twice."""
        state = self.state
        latents = self._latents(generator)
        times = draw_time_pairs(self.size, generator=generator).to(state.device, non_blocking=True)
        w = state.generator.mapping(latents.content, latents.labels)
        ws = state.generator.broadcast_w(w)
        if state.training.style_mixing > 0:
            ws = self._mix_styles(ws, latents, generator)
        synthesize = state.synthesize if compiled else state._synthesize
        pair = FramePair(frames=synthesize(ws, latents.motion, times), times=times, labels=latents.labels)
        return FakeBatch(pair=pair, w=w, ws=ws)

    def _latents(self, generator: torch.Generator) -> Latents:
        codes = torch.randn(2, self.size, CODE_DIM, generator=generator).to(self.state.device, non_blocking=True)
        return Latents(content=codes[0], motion=codes[1], labels=self.pair.labels)

    def _mix_styles(self, ws: torch.Tensor, latents: Latents, generator: torch.Generator) -> torch.Tensor:
        """Style mixing (StyleGAN): for some videos, use the w of another content code from a random layer on."""
        count = ws.shape[1]
        others = self.state.generator.mapping(self._latents(generator).content, latents.labels)
        cutoff = torch.randint(1, count, (self.size, 1), generator=generator)
        mixes = torch.rand(self.size, 1, generator=generator) < self.state.training.style_mixing
        swap = (mixes & (torch.arange(count)[None] >= cutoff)).to(ws.device)
        return torch.where(swap[..., None], others[:, None], ws)

    def discriminate(self, pair: FramePair, generator: torch.Generator) -> Scores:
        """Scores of augmented pairs."""
        images, motions = self.inputs(pair, generator)
        return self.state.discriminate(images, motions, pair.labels)

    def discriminate_both(self, fake: FramePair, real: FramePair, generator: torch.Generator) -> tuple[Scores, Scores]:
        """Scores of augmented fake and real pairs from one forward pass; their minibatch statistics stay separate."""
        inputs = [self.inputs(pair, generator) for pair in (fake, real)]
        images, motions = (torch.cat(parts) for parts in zip(*inputs, strict=True))
        labels = None if real.labels is None else real.labels.repeat(2)
        both = self.state.discriminate(images, motions, labels, batches=2)
        halves = zip(both.image.chunk(2), both.motion.chunk(2), strict=True)
        return tuple(Scores(image=image, motion=motion) for image, motion in halves)  # type: ignore[return-value]

    def discriminate_mismatched(self, generator: torch.Generator) -> torch.Tensor:
        """Motion logits [B, 1] of the augmented real pairs, each with the dt of another pair of the micro-batch.

        Some pairs keep an equal dt by chance, since a clip of n frames has only n values of dt.
        """
        _, motions = self.inputs(replace(self.pair, times=self.pair.times.roll(1, dims=0)), generator)
        logits: torch.Tensor = self.state.discriminator.motion(motions, self.pair.labels)
        return logits

    def inputs(self, pair: FramePair, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Discriminator inputs of augmented pairs: images [2B, 3, H, W] and motions [B, 7, H, W]."""
        frames = augment(pair.frames, self.state.training.augment_steps, generator=generator)
        return split_pair(frames, pair.times[:, 1] - pair.times[:, 0])
