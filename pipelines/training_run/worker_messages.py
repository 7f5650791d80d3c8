"""Messages from training workers to the driver, which alone writes the log, sample images and MLflow.

They go through a Ray actor on the driver's node. ``ray.train.report`` with a ``UserCallback`` does not fit: every worker has
to report equally often, a report waits for the controller's next poll, the callback does not run in the driver's process,
and the last message of a failing worker would be lost.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from digan.training.running_metrics import TrainingProgress

POLL_INTERVAL = 0.1  # seconds between two requests of a worker that waits for permission to continue
REPLY_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, kw_only=True)
class WorkerStarted:
    """Rank 0 of a group of ``workers`` workers has started."""

    workers: int
    placement: Any = None  # the Ray placement group


@dataclass(frozen=True, kw_only=True)
class SampleVideos:
    """Videos of the fixed seeds, uint8 [B, T, 3, H, W]."""

    clips_seen: int
    videos: np.ndarray


@dataclass(frozen=True, kw_only=True)
class WorkerFailed:
    """The error that stopped a worker: ``mistake`` of the user, in one line; ``bug``, as a traceback; ``loss`` of a peer, device
    or connection, after which Ray restarts the workers."""

    kind: Literal["mistake", "bug", "loss"]
    rank: int
    text: str


@dataclass(frozen=True, kw_only=True)
class TrialMeasured:
    """Values of a sweep's objective at a checkpoint, by name; rank 0 waits there until the driver allows it to continue."""

    clips_seen: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class UserNotice:
    """A line for the user about an event that the training has handled by itself."""

    text: str


Message = WorkerStarted | TrainingProgress | SampleVideos | WorkerFailed | TrialMeasured | UserNotice


class MessageQueue:
    """Keeps messages until the driver takes them; runs as a Ray actor."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._allowed = -1

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> list[Message]:
        """Return all messages and forget them."""
        taken, self._messages = self._messages, []
        return taken

    def allow(self, clips_seen: int) -> None:
        self._allowed = max(self._allowed, clips_seen)

    def allowed(self) -> int:
        """The largest number of clips beyond which workers may train; -1 if none has been allowed."""
        return self._allowed


class WorkerMessages:
    """A handle to the queue, made by the driver for the workers; the actor ends with its last handle."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_restarts=-1)(MessageQueue)
        self._queue: Any = actor.options(scheduling_strategy=here).remote()

    def send(self, message: Message, *, wait: float = 0.0) -> None:
        """Send a message, and wait at most ``wait`` seconds until it has arrived. Never raises."""
        with contextlib.suppress(Exception):
            sent = self._queue.put.remote(message)
            if wait:
                ray.wait([sent], timeout=wait)

    def take(self) -> list[Message]:
        """All messages since the last call, in the order in which each worker sent them."""
        try:
            return ray.get(self._queue.take.remote())  # no timeout: a late reply would be lost
        except ray.exceptions.RayError:
            return []  # the actor was lost; Ray restarts it, empty

    def allow(self, clips_seen: int) -> None:
        """Allow a worker that waits at this many clips to continue."""
        self._queue.allow.remote(clips_seen)

    def wait_for(self, clips_seen: int, *, timeout: float) -> None:
        """Wait in a worker until the driver allows it to continue, at most ``timeout`` seconds."""
        end = time.monotonic() + timeout
        with contextlib.suppress(ray.exceptions.RayError):
            while time.monotonic() < end:
                if ray.get(self._queue.allowed.remote(), timeout=REPLY_TIMEOUT) >= clips_seen:
                    return
                time.sleep(POLL_INTERVAL)
