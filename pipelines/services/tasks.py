"""Independent tasks on Ray: as many at once as there are free cores, on one machine or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

Task = TypeVar("Task")
Done = TypeVar("Done")

AHEAD = 2  # tasks handed to Ray for each core, so that none waits for the driver


def run(
    work: Callable[[Task], Done], tasks: Sequence[Task], *, cores_each: float = 1, seconds: float = 5.0
) -> Iterator[tuple[int, Done] | None]:
    """(number, result) of each task as it is done, in the order of their ends; ``None`` when ``seconds`` have passed
    without one.

    Ray is running. A task whose machine is lost is done again elsewhere; an error in one ends the iteration with that
    error. Leaving the iteration early gives up the tasks that run.
    """
    import ray

    # ``work`` is imported by its name in the task's process, from the driver's code.
    remote = ray.remote(num_cpus=cores_each, max_retries=3)(_call)
    waiting = list(range(len(tasks)))[::-1]
    running: dict[Any, int] = {}
    module, name = work.__module__, work.__qualname__
    try:
        while waiting or running:
            room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1) / cores_each))
            while waiting and len(running) < room:
                number = waiting.pop()
                running[remote.remote(module, name, tasks[number])] = number
            ready, _ = ray.wait(list(running), num_returns=1, timeout=seconds)
            if not ready:
                yield None
            for reference in ready:
                number = running.pop(reference)
                yield number, _result(reference)
    finally:
        for reference in running:
            ray.cancel(reference, force=False)


def _result(reference: Any) -> Any:
    """What the task returned, or its own error without Ray's wrapping."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise getattr(error, "cause", None) or error from None


def _call(module: str, name: str, task: Any) -> Any:
    from importlib import import_module

    return getattr(import_module(module), name)(task)


def run_here(
    make: Callable[[], Any], tasks: Sequence[Task], *, processes: int, seconds: float = 5.0
) -> Iterator[tuple[int, Any] | None]:
    """The same without Ray, by threads of this process: ``make()`` gives each a context whose value does tasks."""
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
    from contextlib import ExitStack
    from queue import SimpleQueue

    with ExitStack() as stack:
        makers: SimpleQueue[Callable[[Task], Any]] = SimpleQueue()
        count = min(processes, max(1, len(tasks)))
        for _ in range(count):
            makers.put(stack.enter_context(make()))

        def work(task: Task) -> Any:
            maker = makers.get()
            try:
                return maker(task)
            finally:
                makers.put(maker)

        with ThreadPoolExecutor(count) as threads, closing(_Cancel(threads)):
            running: dict[Future[Any], int] = {}
            following = 0
            while following < len(tasks) or running:
                while following < len(tasks) and len(running) < count:
                    running[threads.submit(work, tasks[following])] = following
                    following += 1
                ready, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
                if not ready:
                    yield None
                for future in ready:
                    yield running.pop(future), future.result()


class _Cancel:
    def __init__(self, threads: Any) -> None:
        self._threads = threads

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
