"""Work that may crash, hang or leak, in child processes: a lost process costs only the item it was working on.

A worker is a fresh Python process (``python -m pipelines.video.isolation FD MODULE:FUNCTION``) that receives pickled
items through a socket, so it inherits nothing from the caller (threads, CUDA, ``__main__``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

TOO_LONG = "took too long and was stopped"
RENEW_AFTER = 200  # items a process handles before a new one replaces it


@dataclass(frozen=True)
class ItemLost:
    """The result of an item whose process died, took too long or raised an unexpected error."""

    reason: str


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    done: int = 0
    item: int = -1  # number of its present item, -1: idle
    deadline: float = field(default=float("inf"))


class IsolatedPool:
    """``with IsolatedPool("module:function", processes=2) as pool: pool.map(items, seconds)``; leaving it kills the
    processes.
    """

    def __init__(self, function: str, *, processes: int, renew_after: int = RENEW_AFTER) -> None:
        self._function, self._renew_after = function, renew_after
        self._size = processes
        self._workers: list[_Worker] = []

    def __enter__(self) -> IsolatedPool:
        self._workers = [self._start() for _ in range(self._size)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            _stop(worker)
        self._workers = []

    def map(self, items: Sequence[Any], seconds: Callable[[Any], float]) -> Generator[Any, None, None]:
        """Yield the results in the order of the items, ``ItemLost`` for an item without one.

        Works ahead by a bounded number of items. ``seconds(item)`` is the time limit of an item.
        """
        results: dict[int, Any] = {}
        upcoming = 0
        for number in range(len(items)):
            while True:
                ahead = number + 4 * self._size
                for worker in self._workers:
                    if worker.item < 0 and upcoming < min(len(items), ahead):
                        item = items[upcoming]
                        worker.item = upcoming
                        worker.deadline = time.monotonic() + seconds(item)
                        self._send(worker, item)
                        upcoming += 1
                if number in results:  # after sending, so that no process idles while the caller works on the result
                    break
                self._collect(results)
            yield results.pop(number)

    def _send(self, worker: _Worker, item: Any) -> None:
        with contextlib.suppress(OSError):  # it died while idle; _collect notices
            worker.connection.send(item)

    def _collect(self, results: dict[int, Any]) -> None:
        """Receive results, and stop workers that are overdue or dead."""
        busy = [worker for worker in self._workers if worker.item >= 0]
        now = time.monotonic()
        soonest = min(worker.deadline for worker in busy)
        wait([worker.connection for worker in busy], timeout=max(0.0, soonest - now))
        for worker in busy:
            try:
                if worker.connection.poll():
                    results[worker.item] = _receive(worker)
                elif time.monotonic() > worker.deadline:
                    results[worker.item] = ItemLost(TOO_LONG)
                else:
                    continue
            except (EOFError, OSError):
                code = _stop(worker)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                late = time.monotonic() >= worker.deadline
                results[worker.item] = ItemLost(TOO_LONG if late else f"its process died ({how})")
            lost = isinstance(results[worker.item], ItemLost)
            worker.item, worker.deadline, worker.done = -1, float("inf"), worker.done + 1
            if lost or worker.done >= self._renew_after:
                _stop(worker)
                self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.video.isolation", str(theirs.fileno()), self._function],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **threads, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        return _Worker(process=process, connection=Connection(ours.detach()))


def _receive(worker: _Worker) -> Any:
    """Receive a result; a process that has not sent all of it by its deadline is killed, which ends the wait."""
    watchdog = threading.Timer(max(0.0, worker.deadline - time.monotonic()), worker.process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        return worker.connection.recv()
    finally:
        watchdog.cancel()


def _stop(worker: _Worker) -> int:
    worker.connection.close()
    if worker.process.poll() is None:
        try:
            worker.process.wait(timeout=0.2)  # it ends when its connection closes
        except subprocess.TimeoutExpired:
            worker.process.kill()
    return worker.process.wait()


def _serve(descriptor: int, function: str) -> None:
    module, name = function.split(":")
    work = getattr(import_module(module), name)
    connection = Connection(descriptor)
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            result = work(item)
        except Exception as error:
            result = ItemLost(f"{type(error).__name__}: {error}"[:200])
        try:
            connection.send(result)
        except (BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    # Through the imported module, not __main__, so that a ``ItemLost`` made here is the class that the caller knows.
    import_module("pipelines.video.isolation")._serve(int(sys.argv[1]), sys.argv[2])
