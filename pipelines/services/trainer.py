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


class _NobodyToAsk:
    """What a scaling policy does on a cluster that no autoscaler serves."""

    def after_controller_start(self, train_run_context: object) -> None:
        """Asks for nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Asks for nothing."""


class LeanTrainer(TorchTrainer):
    """Takes what ``TorchTrainer`` takes; ``private`` says that the cluster is this program's own.

    - Helpers that have nothing to do are not started.
    - A fixed number of workers on a private cluster needs no autoscaler, and so none of the actor that talks to it.
    - In an actor, such as a trial of a sweep, Ray Train's controller runs in that actor's process instead of in one beside it: the two
      could only end together anyway. A driver is no actor, and workers are told of the controller as of one, so there it stays one.

    Ray has no switch for any of this, so this reaches into it; where a later Ray calls things otherwise, all run as usual.
    """

    def __init__(self, *arguments: Any, private: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._private = private

    def _create_default_callbacks(self) -> list[Any]:
        unused = {DATASETS, CLEANER} if self._private else {DATASETS}
        return [each for each in super()._create_default_callbacks() if type(each).__name__ not in unused]

    def _initialize_and_run_controller(self, **options: Any) -> Any:
        try:
            from ray.train.v2._internal.execution.controller import TrainController
            from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
        except ImportError:
            return super()._initialize_and_run_controller(**options)
        if self._private and type(options["scaling_policy"]) is FixedScalingPolicy:
            without = type("FixedScalingPolicyWithoutAutoscaler", (_NobodyToAsk, FixedScalingPolicy), {})
            options["scaling_policy"] = without(scaling_config=self.scaling_config)
        if ray.get_runtime_context().get_actor_id() is None:
            return super()._initialize_and_run_controller(**options)
        controller = TrainController(**options)
        asyncio.run(controller.run())
        return controller.get_result()
