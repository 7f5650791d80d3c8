"""Everything that training changes: networks, averages, optimisers, counters. A checkpoint is this and nothing else.

No random state is kept: each step draws from a generator for (seed, micro-batch, clips seen), and so does the data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from digan.models.config import CODE_DIM, NetworkConfig
from digan.models.discriminator import PairDiscriminator
from digan.models.generator import VideoGenerator
from digan.seeding import generator_for, seed_for
from digan.training.config import TrainingConfig
from digan.training.numerics import compiled
from digan.training.parameter_buffer import ParameterBuffer
from digan.types import Scores

ADAM_BETAS = (0.0, 0.99)
ADAM_EPSILON = 1e-8
MEASURED = 16  # places behind the gradients for statistics, averaged over workers in the same all-reduce


def initial_generator(training: TrainingConfig, model: NetworkConfig) -> VideoGenerator:
    """The untrained generator that a run with these settings starts from."""
    return VideoGenerator(model).reset(generator=generator_for(training.seed, "generator"))


def _adam(flat: ParameterBuffer, lr: float, interval: int) -> torch.optim.Adam:
    """Adam corrected for lazy regularisation: of k + 1 updates one is the penalty's, so rate and decay take the ratio k / (k + 1)."""
    ratio = interval / (interval + 1)
    betas = (ADAM_BETAS[0] ** ratio, ADAM_BETAS[1] ** ratio)
    return torch.optim.Adam([flat.values], lr=lr * ratio, betas=betas, eps=ADAM_EPSILON, fused=True)


class TrainingState:
    """The networks and all that belongs to their training, on one device."""

    def __init__(self, training: TrainingConfig, model: NetworkConfig, device: torch.device) -> None:
        self.training, self.model, self.device = training, model, device
        self.generator = initial_generator(training, model).to(device)
        discriminator = PairDiscriminator(model).reset(generator=generator_for(training.seed, "discriminator"))
        self.discriminator = discriminator.to(device)
        self.generator_ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_buffer = ParameterBuffer(self.generator, extra=CODE_DIM + MEASURED)
        self.discriminator_buffer = ParameterBuffer(self.discriminator, extra=MEASURED)
        self.generator_ema_buffer = ParameterBuffer(self.generator_ema, trained=False)
        self.generator_optimizer = _adam(self.generator_buffer, training.generator_lr, training.generator_interval)
        self.discriminator_optimizer = _adam(self.discriminator_buffer, training.discriminator_lr, training.r1_interval)
        self.path_length_mean = torch.zeros((), device=device)
        self.clips_seen = 0
        self.rollbacks = 0  # how often this run has gone back to an older checkpoint
        self.low_since = -1  # clips seen when the discriminator's loss became too low; -1: it is not
        self.synthesize: Callable[..., torch.Tensor] = self._synthesize
        self.discriminate: Callable[..., Scores] = self.discriminator
        if training.compile:
            self.synthesize, self.discriminate = compiled(self._synthesize), compiled(self.discriminator)

    def _synthesize(self, ws: torch.Tensor, motion: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """ws [B, w_count, 512], motion codes [B, 512], times [B, T] -> frames [B, T, 3, R, R]."""
        synthesis = self.generator.synthesis
        return synthesis.synthesize(synthesis.prepare(ws, motion), times)

    @property
    def draw_seed(self) -> int:
        """The seed of data and draws: the run's, and another one after each time that it went back."""
        seed = self.training.seed
        return seed_for(seed, "rollback", self.rollbacks) if self.rollbacks else seed

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self.clips_seen // self.training.batch_size

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, so that ``torch.load(weights_only=True)`` reads it."""
        return {
            "generator": self.generator.state_dict(),
            "average": self.generator_ema.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "path_length_mean": self.path_length_mean,
            "clips_seen": self.clips_seen,
            "rollbacks": self.rollbacks,
            "low_since": self.low_since,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned; Adam's rates and betas stay this run's. Unknown keys, as older versions saved, are ignored."""
        self.generator.load_state_dict(state["generator"])
        self.generator_ema.load_state_dict(state["average"])
        self.discriminator.load_state_dict(state["discriminator"])
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer = getattr(self, name)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
        self.path_length_mean = state["path_length_mean"].to(self.device)
        for name in ("clips_seen", "rollbacks", "low_since"):
            setattr(self, name, int(state[name]))
