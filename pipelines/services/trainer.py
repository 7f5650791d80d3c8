"""Ray's TorchTrainer without the helper processes that these trainings have no use for.

Each is a Python process of its own: seconds of a core at every start, and for as long as a training runs up to a hundred
interruptions a second of the cores that train. A step's threads wait for each other, so what delays one delays all.

Ray has no switch for any of this, so this reaches into it. Where a later Ray calls things otherwise, all run as usual;
tests/pipelines/test_cluster.py tells.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import ray
from ray.runtime_context import RuntimeContext
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer

# Keeps Ray Data's data sets; the data here are WebDataset shards, which workers read themselves.
DATASETS = "DatasetsCallback"
# Gives resources back where a controller was killed: a private cluster ends with it, and a sweep looks after its own (reservations.py).
CLEANER = "PlacementGroupCleanerCallback"
STOP = 10.0  # seconds that a controller may take to end


class LoneConfig(TorchConfig):
    """For a worker that has no other to talk to: no process group, whose thread would wake a hundred times a second."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Ray Train's backend that sets nothing up."""
        return Backend


class _NobodyToAsk:
    """What a scaling policy does on a cluster that no autoscaler serves."""

    def after_controller_start(self, train_run_context: object) -> None:
        """Asks for nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Asks for nothing."""


def _without_barrier() -> list[Any]:
    """Callbacks that end the actor at which workers wait for each other to report checkpoints: these trainings keep their own."""
    try:
        from ray.train.v2._internal.execution.callback import WorkerGroupCallback
    except ImportError:
        return []

    class NoBarrierCallback(WorkerGroupCallback):
        def after_worker_group_training_start(self, worker_group: Any) -> None:
            barrier = getattr(worker_group.get_worker_group_state(), "sync_actor", None)
            if barrier is not None:
                ray.kill(barrier)

    return [NoBarrierCallback()]


class _DriverContext(RuntimeContext):
    """A driver's context that says it is no actor where Ray's own raises an error."""

    current_actor = None


@contextmanager
def _told_of_no_controller() -> Iterator[None]:
    """Within, Ray Train's controller may run in a driver: workers are told of none, and do not ask for it."""
    usual = ray.runtime_context._runtime_context
    ray.runtime_context._runtime_context = _DriverContext(ray.get_runtime_context().worker)
    try:
        yield
    finally:
        ray.runtime_context._runtime_context = usual


class LeanTrainer(TorchTrainer):
    """Takes what ``TorchTrainer`` takes; ``private`` says that the cluster is this program's own.

    - Helpers that have nothing to do are not started.
    - A fixed number of workers on a private cluster needs no autoscaler, and so none of the actor that talks to it.
    - In an actor, such as a trial of a sweep, and on a private cluster Ray Train's controller runs in this process instead of in an
      actor beside it: the two could only end together anyway.
    - On a private cluster the barrier for reporting checkpoints, which no worker uses, ends as soon as they train.
    """

    def __init__(self, *arguments: Any, private: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._private = private
        self._stop: Callable[[], object] | None = None
        self._stopping, self._ended = threading.Event(), threading.Event()

    def stop(self) -> None:
        """End a controller that runs in this process, so that none looks for a cluster that has gone."""
        self._stopping.set()
        if self._stop is not None and not self._ended.is_set():
            self._stop()
            self._ended.wait(STOP)

    def _create_default_callbacks(self) -> list[Any]:
        unused = {DATASETS, CLEANER} if self._private else {DATASETS}
        callbacks = [each for each in super()._create_default_callbacks() if type(each).__name__ not in unused]
        return [*callbacks, *_without_barrier()] if self._private else callbacks

    def _initialize_and_run_controller(self, **options: Any) -> Any:
        try:
            from ray.train.v2._internal.execution.controller import TrainController
            from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
        except ImportError:
            return super()._initialize_and_run_controller(**options)
        if self._private and type(options["scaling_policy"]) is FixedScalingPolicy:
            without = type("FixedScalingPolicyWithoutAutoscaler", (_NobodyToAsk, FixedScalingPolicy), {})
            options["scaling_policy"] = without(scaling_config=self.scaling_config)
        is_actor = ray.get_runtime_context().get_actor_id() is not None
        if not is_actor and not self._private:
            return super()._initialize_and_run_controller(**options)
        with nullcontext() if is_actor else _told_of_no_controller():
            controller = TrainController(**options)
            try:
                asyncio.run(self._run(controller))
            finally:
                self._ended.set()
            return controller.get_result()

    async def _run(self, controller: Any) -> None:
        task = asyncio.ensure_future(controller.run())
        self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        if self._stopping.is_set():  # told to before there was anything to stop
            task.cancel()
        await task
