"""Ray's TorchTrainer without the helper processes that these trainings have no use for.

Each is a Python process of its own: seconds of a core at every start, and a share of the cores for as long as a training runs.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.train.torch import TorchTrainer

# Keeps Ray Data's data sets; the data here are WebDataset shards, which workers read themselves.
DATASETS = "DatasetsCallback"
# Gives resources back where a controller was killed: a private cluster ends with it, and a sweep looks after its own (reservations.py).
CLEANER = "PlacementGroupCleanerCallback"


class LeanTrainer(TorchTrainer):
    """Takes what ``TorchTrainer`` takes; ``private`` says that the cluster is this program's own.

    In an actor, such as a trial of a sweep, Ray Train's controller runs in that actor's process instead of in one beside it: the two
    could only end together anyway. A driver is no actor, and workers are told of the controller as of one, so there it stays one.
    Ray has no switch for any of this, so this reaches into it; where a later Ray calls things otherwise, all run as usual.
    """

    def __init__(self, *arguments: Any, private: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unused = {DATASETS, CLEANER} if private else {DATASETS}

    def _create_default_callbacks(self) -> list[Any]:
        return [each for each in super()._create_default_callbacks() if type(each).__name__ not in self._unused]

    def _initialize_and_run_controller(self, **options: Any) -> Any:
        try:
            from ray.train.v2._internal.execution.controller import TrainController
        except ImportError:
            return super()._initialize_and_run_controller(**options)
        if ray.get_runtime_context().get_actor_id() is None:
            return super()._initialize_and_run_controller(**options)
        controller = TrainController(**options)
        asyncio.run(controller.run())
        return controller.get_result()
