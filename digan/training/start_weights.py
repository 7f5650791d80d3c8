"""Weights of another model that a run begins with, in place of random ones.

A run keeps a copy beside its checkpoints, so that a restart before its first checkpoint begins with the same weights whatever
has become of the model. Moments of Adam, counters and schedules begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from digan import class_names
from digan.errors import listed
from digan.generator_io import load_generator
from digan.models.config import NetworkConfig
from digan.training import checkpoint
from digan.training.checkpoint import CheckpointStore

NETWORKS = ("generator", "average", "discriminator")
NAME = "start"  # of the copy in a run's store
KEYS = {"resolution": "clips.resolution"} | {
    name: f"model.{name}" for name in ("channel_base", "channel_max", "mapping_layers", "modulation_rank", "drift")
}

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """State dicts by network (of ``NETWORKS``) and the sizes of the model they come from.

    Without a discriminator's, it begins with random weights. ``classes`` are the names of the model's classes, empty if unknown.
    """

    model: NetworkConfig
    networks: Mapping[str, Weights]
    classes: tuple[str, ...] = ()

    @property
    def has_discriminator(self) -> bool:
        return "discriminator" in self.networks

    def differences(self, model: NetworkConfig, classes: Sequence[str]) -> list[str]:
        """What does not fit a run with networks ``model`` on data with these classes; empty if all does."""
        theirs, ours = asdict(self.model), asdict(model)
        found = [
            f"it has {theirs[name]} classes and the data {ours[name]}"
            if name == "classes"
            else f"{KEYS[name]} is {ours[name]} and {theirs[name]} there"
            for name in theirs
            if theirs[name] != ours[name]
        ]
        if self.classes and len(self.classes) == len(classes) and self.classes != tuple(classes):
            found.append(f"its classes are {listed(self.classes)}, those of the data {listed(classes)}")
        return found


def of_generator(folder: Path) -> StartWeights:
    """The weights in a generator's folder. Errors: ``UserError`` if it is damaged."""
    generator = load_generator(folder)
    weights, classes = generator.state_dict(), class_names.read(folder, generator.config.classes)
    networks = {"generator": weights, "average": weights}
    return StartWeights(model=generator.config, networks=networks, classes=tuple(classes))


def of_checkpoint(store: CheckpointStore, name: str) -> StartWeights:
    """The weights in a checkpoint. Errors: ``ValueError`` if it is damaged."""
    state = checkpoint.read(store, name)
    networks: dict[str, Weights] = {name: state[name] for name in NETWORKS if name in state}
    return StartWeights(model=checkpoint.model_of(store, name), networks=networks)


def write(weights: StartWeights, store: CheckpointStore) -> None:
    """Keep a copy in the run's store."""
    store.write(NAME, checkpoint.files_of({**weights.networks, "clips_seen": 0}, weights.model))


def read(store: CheckpointStore) -> StartWeights:
    """The run's copy. Errors: ``ValueError`` if it is damaged or missing."""
    return of_checkpoint(store, NAME)
