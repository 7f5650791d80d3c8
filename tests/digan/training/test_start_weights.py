"""Runs that begin with the weights of another model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digan.generator_io import load_generator, save_generator
from digan.training import checkpoint, loop, start_weights
from digan.training.checkpoint import FolderStore
from digan.training.start_weights import StartWeights
from digan.training.state import TrainingState
from tests.digan.training.test_loop import CPU, MODEL, TRAINING, reader, run, snapshot_folder

OTHER = replace(TRAINING, seed=99, clips=16)


def run_from(folder: Path, start: StartWeights | None, clips: int = 32) -> torch.Tensor:
    generator = loop.train(
        loop.TrainingSpec(training=replace(TRAINING, clips=clips), model=MODEL, reader=reader, start=start),
        loop.TrainingPlacement(
            rank=0,
            world_size=1,
            device=CPU,
            checkpoints=FolderStore(folder),
            snapshots=FolderStore(snapshot_folder(folder)),
        ),
        loop.TrainingHooks(on_progress=lambda _: None, on_samples=lambda *_: None),
    )
    return torch.cat([value.flatten() for value in generator.state_dict().values()])


def equal(weights: start_weights.Weights, network: torch.nn.Module) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_checkpoint_gives_both_networks_and_a_generator_only_itself(tmp_path: Path) -> None:
    run(tmp_path / "other", OTHER)
    store = FolderStore(tmp_path / "other")
    whole = start_weights.of_checkpoint(store, checkpoint.listed(store)[0])
    given = checkpoint.read(store, checkpoint.listed(store)[0])
    state, random = TrainingState(TRAINING, MODEL, CPU), TrainingState(TRAINING, MODEL, CPU)
    state.load_weights(whole.networks)
    assert whole.has_discriminator and state.clips_seen == 0 and not state.generator_optimizer.state
    for name in ("generator", "average", "discriminator"):
        assert equal(given[name], {"average": state.generator_ema}.get(name) or getattr(state, name))

    save_generator(state.generator_ema, tmp_path / "generator")
    alone, state = start_weights.of_generator(tmp_path / "generator"), TrainingState(TRAINING, MODEL, CPU)
    state.load_weights(alone.networks)
    ema = load_generator(tmp_path / "generator").state_dict()
    assert not alone.has_discriminator and equal(ema, state.generator) and equal(ema, state.generator_ema)
    assert equal(random.discriminator.state_dict(), state.discriminator)


def test_resumed_run_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    run(tmp_path / "other", OTHER)
    start_weights.write(
        start_weights.of_checkpoint(FolderStore(tmp_path / "other"), "0000000016"), FolderStore(tmp_path)
    )
    start = start_weights.read(FolderStore(tmp_path))
    whole = run_from(tmp_path / "whole", start)
    assert not torch.equal(whole, run_from(tmp_path / "random", None))
    run_from(tmp_path / "halves", start, clips=16)
    assert torch.equal(run_from(tmp_path / "halves", start), whole)
    shutil.rmtree(tmp_path / "halves" / "0000000032")  # a kill before the last checkpoint
    assert torch.equal(run_from(tmp_path / "halves", start), whole)
    shutil.rmtree(tmp_path / "halves")  # and before the first one
    assert torch.equal(run_from(tmp_path / "halves", start), whole)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"resolution": 64}, "clips.resolution is 64 and 32 there"),
        ({"classes": 3}, "it has 0 classes and the data 3"),
        ({"channel_max": 8}, "model.channel_max is 8 and 4 there"),
        ({"drift": 1}, "model.drift is 1 and 0 there"),
    ],
)
def test_differences_are_named(change: dict[str, int], text: str) -> None:
    weights = StartWeights(model=MODEL, networks={})
    assert weights.differences(replace(MODEL, **change), ()) == [text] and weights.differences(MODEL, ()) == []


def test_classes_must_have_the_same_names_in_the_same_order() -> None:
    model = replace(MODEL, classes=2)
    weights = StartWeights(model=model, networks={}, classes=("cat", "dog"))
    assert weights.differences(model, ("cat", "dog")) == []
    assert weights.differences(model, ("dog", "cat")) == ["its classes are cat, dog, those of the data dog, cat"]
    assert StartWeights(model=model, networks={}).differences(model, ("a", "b")) == []  # names unknown
