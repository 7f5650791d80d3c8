"""Threads beside the training loop: a background task and a prefetcher."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BackgroundTask:
    """Runs functions in a thread, one at a time and in order; an error is raised by the next call.

    A context manager: leaving it waits for the running function, also when the block failed.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, function: Callable[[], object]) -> None:
        """Run ``function`` in the thread, after waiting for the previous one."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(function,), name="background", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the running function; raises its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> BackgroundTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join()


class Prefetcher(Generic[Item]):
    """Iterates over ``source`` with up to ``depth`` items read ahead by a thread; errors are raised in order too.

    Stop the thread with ``close`` or by leaving the context.
    """

    def __init__(self, source: Iterator[Item], *, depth: int = 2) -> None:
        self._queue: queue.Queue[tuple[bool, object]] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(source,), name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        is_item, item = self._queue.get()
        if is_item:
            return item  # type: ignore[return-value]
        self._queue.put((is_item, item))  # the next call raises it again
        assert isinstance(item, BaseException)
        raise item

    def close(self) -> None:
        """Stop the thread and drop prefetched items."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)

    def __enter__(self) -> Prefetcher[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, source: Iterator[Item]) -> None:
        entry: tuple[bool, object]
        while not self._stop.is_set():
            try:
                entry = (True, next(source))
            except BaseException as error:  # including StopIteration
                entry = (False, error)
            while not self._stop.is_set():
                try:
                    self._queue.put(entry, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if not entry[0]:
                return
