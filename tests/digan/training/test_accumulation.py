"""An update is the same for any number of workers, also with unequal shares of micro-batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from digan.training.loop import train_step
from digan.training.state import TrainingState
from digan.training.step import micro_batch_indices
from digan.types import FramePair
from tests.digan.training.test_loop import CPU, MODEL, TRAINING, batch

SHARED = replace(TRAINING, batch_size=20, micro_batch=4, r1_interval=2)
UPDATES = 3


def pairs_of(update: int, numbers: range) -> list[FramePair]:
    return [batch(100 * update + number) for number in numbers]


def trained(rank: int, world: int) -> TrainingState:
    state = TrainingState(SHARED, MODEL, CPU)
    for update in range(UPDATES):
        metrics = train_step(state, pairs_of(update, micro_batch_indices(rank, world, 5)), rank=rank, world_size=world)
    state.metrics = metrics.values  # type: ignore[attr-defined]
    return state


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    state = trained(rank, world)
    torch.save({"state": state.state_dict(), "metrics": state.metrics}, f"{folder}/{rank}.pt")  # type: ignore[attr-defined]
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [3])
def test_update_does_not_depend_on_the_number_of_workers(tmp_path: Path, world: int) -> None:
    multiprocessing.spawn(worker, (world, str(tmp_path)), nprocs=world)
    alone = trained(0, 1)
    for rank in range(world):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for network in ("generator", "discriminator", "average"):
            for name, value in alone.state_dict()[network].items():
                torch.testing.assert_close(found["state"][network][name], value, rtol=2e-3, atol=2e-5)
        for name, value in alone.metrics.items():  # type: ignore[attr-defined]
            torch.testing.assert_close(found["metrics"][name], value, rtol=1e-3, atol=1e-4)
    first = torch.load(tmp_path / "0.pt", weights_only=True)["state"]["generator"]
    other = torch.load(tmp_path / "1.pt", weights_only=True)["state"]["generator"]
    assert all(torch.equal(value, other[name]) for name, value in first.items())


def test_gradients_depend_on_every_micro_batch() -> None:
    """Gradients of an update are the mean over its micro-batches; leaving one out changes them."""
    one, other = TrainingState(SHARED, MODEL, CPU), TrainingState(SHARED, MODEL, CPU)
    train_step(one, pairs_of(0, range(5)))
    train_step(other, [*pairs_of(0, range(4)), batch(77)])
    assert not torch.equal(one.discriminator_buffer.values, other.discriminator_buffer.values)


@pytest.mark.slow
def test_a_compiled_step_follows_the_plain_one() -> None:
    plain, compiled = (TrainingState(replace(SHARED, compile=flag), MODEL, CPU) for flag in (False, True))
    for update in range(1):
        pairs = pairs_of(update, range(5))
        losses = [train_step(state, pairs).values for state in (plain, compiled)]
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, rtol=1e-3, atol=1e-4)
