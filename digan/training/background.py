"""Work beside the training: one thread that does one thing at a time, and a reader that is always a batch ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BackgroundTask:
    """Does what it is given in a thread, in order. What fails is raised by the next call, so nothing is lost in silence.

    A context: leaving it waits for what has been begun, also where the block failed.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def do(self, work: Callable[[], object]) -> None:
        """Begin ``work`` once what came before has ended."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name="background", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until all is done; raises what has failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
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
    """The items of an iterator, read by a thread up to ``depth`` ahead, in their order; its errors are raised in their place.

    ``close`` ends the thread; a context does so too.
    """

    def __init__(self, source: Iterator[Item], *, depth: int = 2) -> None:
        self._queue: queue.Queue[tuple[bool, object]] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(source,), name="reading-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        good, item = self._queue.get()
        if good:
            return item  # type: ignore[return-value]
        self._queue.put((good, item))  # so that a next call ends as well
        assert isinstance(item, BaseException)
        raise item

    def close(self) -> None:
        """End the thread; what was read ahead is dropped."""
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
            except BaseException as error:  # StopIteration too
                entry = (False, error)
            while not self._stop.is_set():
                try:
                    self._queue.put(entry, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if not entry[0]:
                return
