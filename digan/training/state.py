"""Everything that training changes: networks, averages, optimisers, counters. A checkpoint is this and nothing else.

No random state is kept: each step draws from a generator for (seed, rank, clips seen), and so does the data.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from digan.models.config import CODE_DIM, ModelConfig
from digan.models.discriminator import PairDiscriminator
from digan.models.generator import Generator
from digan.seeding import generator_for
from digan.training.config import TrainingConfig
from digan.training.flat import FlatParameters

ADAM_BETAS = (0.0, 0.99)
ADAM_EPSILON = 1e-8


def initial_generator(training: TrainingConfig, model: ModelConfig) -> Generator:
    """The untrained generator that a run with these settings starts from."""
    return Generator(model).reset(generator=generator_for(training.seed, "generator"))


def _adam(flat: FlatParameters, lr: float, interval: int) -> torch.optim.Adam:
    """Adam corrected for lazy regularisation: of k + 1 updates one is the penalty's, so rate and decay take the ratio k / (k + 1)."""
    ratio = interval / (interval + 1)
    betas = (ADAM_BETAS[0] ** ratio, ADAM_BETAS[1] ** ratio)
    return torch.optim.Adam([flat.values], lr=lr * ratio, betas=betas, eps=ADAM_EPSILON, fused=True)


class TrainingState:
    """The networks and all that belongs to their training, on one device."""

    def __init__(self, training: TrainingConfig, model: ModelConfig, device: torch.device) -> None:
        self.training, self.model, self.device = training, model, device
        self.generator = initial_generator(training, model).to(device)
        discriminator = PairDiscriminator(model).reset(generator=generator_for(training.seed, "discriminator"))
        self.discriminator = discriminator.to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.flat_generator = FlatParameters(self.generator, extra=CODE_DIM)
        self.flat_discriminator = FlatParameters(self.discriminator)
        self.flat_average = FlatParameters(self.average, trained=False)
        self.generator_optimizer = _adam(self.flat_generator, training.generator_lr, training.generator_interval)
        self.discriminator_optimizer = _adam(self.flat_discriminator, training.discriminator_lr, training.r1_interval)
        self.path_length_mean = torch.zeros((), device=device)
        self.clips_seen = 0

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self.clips_seen // self.training.batch_size

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, so that ``torch.load(weights_only=True)`` reads it."""
        return {
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "path_length_mean": self.path_length_mean,
            "clips_seen": self.clips_seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave; rates and decays are this run's, moments the saved ones."""
        self.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self.discriminator.load_state_dict(state["discriminator"])
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer = getattr(self, name)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
        self.path_length_mean = state["path_length_mean"].to(self.device)
        self.clips_seen = int(state["clips_seen"])
