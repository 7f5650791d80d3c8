"""The way back from workers to the driver: a mailbox that keeps messages until the driver takes them.

On a cluster it is an actor beside the driver; on this machine alone the driver keeps it itself, behind a Unix socket: an actor
is a process more, which takes its turn on the cores that train.
A worker never waits for it and never fails by it. The driver alone writes books (log, pictures, MLflow), so nothing is
written twice when workers are restarted, and workers need no way to the tracking store.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Protocol

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
    """Where messages lie until the driver takes them. Several threads may use it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._allowed = -1
        self._lock = threading.Lock()

    def allow(self, clips_seen: int) -> None:
        self._allowed = max(self._allowed, clips_seen)

    def allowed(self) -> int:
        return self._allowed

    def put(self, message: Message) -> None:
        with self._lock:
            self._messages.append(message)

    def take(self) -> list[Message]:
        with self._lock:
            taken, self._messages = self._messages, []
        return taken


class _Post(Protocol):
    """Reaches a mailbox from any process of a training; what it raises is a ``RayError`` or an ``OSError``."""

    def tell(self, method: str, *values: object, wait: float = 0.0) -> None:
        """Call a method without waiting, or until it is done, ``wait`` seconds at most."""

    def ask(self, method: str) -> Any:
        """What a method returns."""

    def close(self) -> None:
        """End it, in the driver."""


class _Actor:
    """A mailbox in an actor on the driver's machine, reached from all machines of a cluster."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_restarts=-1)(_Mailbox)
        self._mailbox: Any = actor.options(scheduling_strategy=here).remote()

    def tell(self, method: str, *values: object, wait: float = 0.0) -> None:
        import ray

        sent = getattr(self._mailbox, method).remote(*values)
        if wait:
            ray.wait([sent], timeout=wait)

    def ask(self, method: str) -> Any:
        import ray

        return ray.get(getattr(self._mailbox, method).remote(), timeout=30)

    def close(self) -> None:
        """Nothing: the actor ends with its last handle."""


class _Socket:
    """A mailbox in the driver, reached from this machine's processes that have been handed the key."""

    def __init__(self, folder: Path) -> None:
        self._address, self._key = str(folder / f"mailbox-{secrets.token_hex(4)}"), secrets.token_bytes(32)
        self._mailbox: _Mailbox | None = _Mailbox()
        self._begin()
        listener = Listener(self._address, "AF_UNIX", authkey=self._key)
        threading.Thread(target=self._serve, args=(listener,), name="mailbox", daemon=True).start()

    def _begin(self) -> None:
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[str, bytes]:
        return self._address, self._key

    def __setstate__(self, state: tuple[str, bytes]) -> None:
        (self._address, self._key), self._mailbox = state, None
        self._begin()

    def _serve(self, listener: Listener) -> None:
        with listener:
            while self._mailbox is not None:
                with contextlib.suppress(EOFError, OSError, AuthenticationError):  # one caller's; others may follow
                    connection = listener.accept()
                    threading.Thread(target=self._answer, args=(connection,), name="mailbox", daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while (mailbox := self._mailbox) is not None:
                method, values, answered = connection.recv()
                result = getattr(mailbox, method)(*values)
                if answered:
                    connection.send(result)

    def _call(self, method: str, *values: object, answered: bool) -> Any:
        if self._mailbox is not None:
            return getattr(self._mailbox, method)(*values)
        with self._lock:
            if self._connection is None:
                self._connection = Client(self._address, "AF_UNIX", authkey=self._key)
            self._connection.send((method, values, answered))
            return self._connection.recv() if answered else None

    def tell(self, method: str, *values: object, wait: float = 0.0) -> None:
        self._call(method, *values, answered=False)  # it lies in the socket's memory and arrives though the sender dies

    def ask(self, method: str) -> Any:
        return self._call(method, answered=True)

    def close(self) -> None:
        self._mailbox = None
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            Client(self._address, "AF_UNIX", authkey=self._key).close()  # wakes the listener, which ends


class Channel:
    """Made by the driver, handed to workers as it is. With a ``folder`` all of them are on this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self._post: _Post = _Actor() if folder is None else _Socket(folder)

    def send(self, message: Message, *, wait: float = 0.0) -> None:
        """Put a message on its way, and for last words wait until it has arrived, ``wait`` seconds at most."""
        with contextlib.suppress(Exception):
            self._post.tell("put", message, wait=wait)

    def allow(self, clips_seen: int) -> None:
        """Let a worker that waits at this many clips go on."""
        with contextlib.suppress(Exception):
            self._post.tell("allow", clips_seen)

    def wait_for(self, clips_seen: int, *, patience: float) -> None:
        """Wait in a worker until the driver lets it go on, ``patience`` seconds at most."""
        import ray

        end = time.monotonic() + patience
        with contextlib.suppress(ray.exceptions.RayError, EOFError, OSError):
            while time.monotonic() < end and self._post.ask("allowed") < clips_seen:
                time.sleep(PAUSE)

    def take(self) -> list[Message]:
        """All that has arrived since the last call, in each worker's order."""
        import ray

        try:
            return self._post.ask("take")
        except (ray.exceptions.RayError, TimeoutError):
            return []  # the actor was lost: Ray starts it again, empty

    def close(self) -> None:
        """In the driver, when nothing more is taken."""
        self._post.close()
