"""The training state, all of which a checkpoint holds: networks, generator EMA, optimizers and counters.

There is no random state: training and data draw from generators seeded by (seed, micro-batch index, clips seen).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
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
MAX_STATISTICS = 16  # extra values after the gradients, averaged over workers in the same all-reduce


def initial_generator(training: TrainingConfig, model: NetworkConfig) -> VideoGenerator:
    """The untrained generator that a run with these configs starts from."""
    return VideoGenerator(model).reset(generator=generator_for(training.seed, "generator"))


def _adam(buffer: ParameterBuffer, lr: float, interval: int) -> torch.optim.Adam:
    """Adam corrected for lazy regularization (StyleGAN2, implementation details): lr k / (k + 1), betas to the power k / (k + 1)."""
    ratio = interval / (interval + 1)
    betas = (ADAM_BETAS[0] ** ratio, ADAM_BETAS[1] ** ratio)
    return torch.optim.Adam([buffer.values], lr=lr * ratio, betas=betas, eps=ADAM_EPSILON, fused=True)


class TrainingState:
    """The networks, optimizers and counters, on one device."""

    def __init__(self, training: TrainingConfig, model: NetworkConfig, device: torch.device) -> None:
        self.training, self.model, self.device = training, model, device
        self.generator = initial_generator(training, model).to(device)
        discriminator = PairDiscriminator(model).reset(generator=generator_for(training.seed, "discriminator"))
        self.discriminator = discriminator.to(device)
        self.generator_ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_buffer = ParameterBuffer(self.generator, extra=CODE_DIM + MAX_STATISTICS)
        self.discriminator_buffer = ParameterBuffer(self.discriminator, extra=MAX_STATISTICS)
        self.generator_ema_buffer = ParameterBuffer(self.generator_ema, trained=False)
        self.generator_optimizer = _adam(self.generator_buffer, training.generator_lr, training.generator_interval)
        self.discriminator_optimizer = _adam(self.discriminator_buffer, training.discriminator_lr, training.r1_interval)
        self.path_length_mean = torch.zeros((), device=device)
        self.clips_seen = 0
        self.rollbacks = 0  # rollbacks so far
        self.low_since = -1  # clips seen when the discriminator's loss fell below collapse_loss; -1: not below
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
        """The seed of data and training draws: the run's, and a different one after each rollback."""
        seed = self.training.seed
        return seed_for(seed, "rollback", self.rollbacks) if self.rollbacks else seed

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self.clips_seen // self.training.batch_size

    def load_weights(self, networks: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Load the networks' state dicts that are there, by their names in ``state_dict``, and nothing else."""
        for name, network in self._networks.items():
            if name in networks:
                network.load_state_dict(networks[name])

    @property
    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"generator": self.generator, "average": self.generator_ema, "discriminator": self.discriminator}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, so that ``torch.load(weights_only=True)`` can read it."""
        return {
            **{name: network.state_dict() for name, network in self._networks.items()},
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "path_length_mean": self.path_length_mean,
            "clips_seen": self.clips_seen,
            "rollbacks": self.rollbacks,
            "low_since": self.low_since,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a ``state_dict``, except Adam's rates and betas, which stay this run's; unknown keys are ignored."""
        self.load_weights({name: state[name] for name in self._networks})
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer = getattr(self, name)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
        self.path_length_mean = state["path_length_mean"].to(self.device)
        for name in ("clips_seen", "rollbacks", "low_since"):
            setattr(self, name, int(state[name]))
