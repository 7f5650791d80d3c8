"""The way back from workers to the driver: an actor beside the driver that keeps messages until the driver takes them.

A worker never waits for it and never fails by it. The driver alone writes books (log, pictures, MLflow), so nothing is
written twice when workers are restarted, and workers need no way to the tracking store.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

PAUSE = 0.1  # seconds between two looks of a waiting worker


@dataclass(frozen=True, kw_only=True)
class Started:
    """Rank 0 of a worker group has begun; ``workers`` are in the group, whose resources Ray knows as ``placement``."""

    workers: int
    placement: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where rank 0 stands: the loop's ``Progress`` in plain values; ``metrics`` by name."""

    clips_seen: int
    clips_total: int
    clips_per_second: float
    seconds_left: float
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Videos of the fixed seeds: uint8 [B, T, 3, H, W]."""

    clips_seen: int
    videos: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What stopped a worker.

    ``kind`` is ``mistake`` (the user's; ``text`` is the line to show), ``bug`` (``text`` is the traceback) or ``loss``
    (a peer, device or connection went; Ray starts the workers again).
    """

    kind: str
    rank: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the objective of a sweep is at a checkpoint, by name; rank 0 waits there until the driver lets it go on."""

    clips_seen: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A line for a person about something that training has handled by itself."""

    text: str


Message = Started | Report | Samples | Fault | Notice | Measured


class _Mailbox:
    """The actor's inside."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._allowed = -1

    def allow(self, clips_seen: int) -> None:
        self._allowed = max(self._allowed, clips_seen)

    def allowed(self) -> int:
        return self._allowed

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken


class Channel:
    """Made by the driver, handed to workers as it is."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_restarts=-1)(_Mailbox)
        self._mailbox: Any = actor.options(scheduling_strategy=here).remote()

    def send(self, message: Message, *, wait: float = 0.0) -> None:
        """Put a message on its way, and for last words wait until it has arrived, ``wait`` seconds at most."""
        import ray

        with contextlib.suppress(Exception):
            sent = self._mailbox.put.remote(message)
            if wait:
                ray.wait([sent], timeout=wait)

    def allow(self, clips_seen: int) -> None:
        """Let a worker that waits at this many clips go on."""
        with contextlib.suppress(Exception):
            self._mailbox.allow.remote(clips_seen)

    def wait_for(self, clips_seen: int, *, patience: float) -> None:
        """Wait in a worker until the driver lets it go on, ``patience`` seconds at most."""
        import ray

        end = time.monotonic() + patience
        with contextlib.suppress(ray.exceptions.RayError):
            while time.monotonic() < end and ray.get(self._mailbox.allowed.remote(), timeout=30) < clips_seen:
                time.sleep(PAUSE)

    def take(self) -> list[Message]:
        """All that has arrived since the last call, in each worker's order."""
        import ray

        try:
            return ray.get(self._mailbox.take.remote(), timeout=30)
        except (ray.exceptions.RayError, TimeoutError):
            return []  # the actor was lost: Ray starts it again, empty
