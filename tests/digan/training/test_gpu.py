"""A GPU computes what the CPU computes: ``make test-gpu`` (`DIGAN_TEST_DEVICE=cpu` tests these tests themselves)."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from benchmarks.gpu import TRAINING
from digan.models.config import NetworkConfig
from digan.sampling import draw_latents, render
from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_times
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from digan.types import FramePair

DEVICE = torch.device(os.environ.get("DIGAN_TEST_DEVICE", "cuda"))
MODEL = NetworkConfig(resolution=64, channel_base=2048, channel_max=64, mapping_layers=2, modulation_rank=10, classes=0)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def trained(device: torch.device, precision: str, updates: int) -> TrainingState:
    """A training state after ``updates`` updates on equal random pairs."""
    training = replace(TRAINING, batch_size=4, micro_batch=4, precision=precision)
    set_numerics(training, device)
    state = TrainingState(training, MODEL, device)
    for number in range(updates):
        generator = generator_for(number, "gpu test")
        frames = torch.rand(4, 2, 3, 64, 64, generator=generator) * 2 - 1
        pair = FramePair(frames=frames, times=draw_time_pairs(4, generator=generator), labels=None)
        train_step(state, [pair.to(device)])
    return state


def frames_of(state: TrainingState) -> torch.Tensor:
    """Two videos of four frames, uint8, on the CPU."""
    return render(state.generator_ema, draw_latents(range(2)), frame_times(4)).cpu()


@pytest.mark.parametrize("updates", [0, 2])
def test_videos_agree_with_the_cpu(updates: int) -> None:
    cpu, gpu = (frames_of(trained(device, "fp32", updates)).int() for device in (torch.device("cpu"), DEVICE))
    assert (cpu - gpu).abs().max() <= 1


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precisions_stay_finite_and_near(precision: str) -> None:
    exact, fast = trained(DEVICE, "fp32", 3), trained(DEVICE, precision, 3)
    for one, other in zip(exact.generator_ema.parameters(), fast.generator_ema.parameters(), strict=True):
        assert torch.isfinite(other).all() and (one - other).abs().mean() < 0.01


def test_an_update_repeats_bit_for_bit_if_deterministic() -> None:
    training = replace(TRAINING, batch_size=4, micro_batch=4, deterministic=True)
    weights = []
    for _ in range(2):
        set_numerics(training, DEVICE)
        state = TrainingState(training, MODEL, DEVICE)
        frames = torch.rand(4, 2, 3, 64, 64, generator=generator_for(0, "gpu test")) * 2 - 1
        times = draw_time_pairs(4, generator=generator_for(1, "gpu test"))
        train_step(state, [FramePair(frames=frames, times=times, labels=None).to(DEVICE)])
        weights.append([parameter.detach().cpu().clone() for parameter in state.generator_ema.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
