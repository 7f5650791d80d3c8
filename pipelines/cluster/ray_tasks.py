"""Runs independent tasks: on Ray, as many at once as the cluster has free cores, or in threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

Task = TypeVar("Task")
Done = TypeVar("Done")

AHEAD = 2  # tasks submitted for each core, so that no core waits for the driver


def run(
    work: Callable[[Task], Done], tasks: Sequence[Task], *, cores_each: float = 1, seconds: float = 5.0
) -> Iterator[tuple[int, Done] | None]:
    """Yield (number, result) of each task as it completes, and ``None`` after ``seconds`` without a result.

    Ray is connected. A task whose machine is lost runs again on another one; a task's error ends the iteration with that
    error. Leaving the iteration early cancels the running tasks.
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
    """The result of a task, or its own error without Ray's wrapper."""
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
    """The same without Ray, in threads of this process; ``make()`` gives each thread a context whose value does its tasks."""
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
    from contextlib import ExitStack
    from queue import SimpleQueue

    count = min(processes, max(1, len(tasks)))
    workers: SimpleQueue[Callable[[Task], Any]] = SimpleQueue()

    def work(task: Task) -> Any:
        worker = workers.get()
        try:
            return worker(task)
        finally:
            workers.put(worker)

    with ExitStack() as stack:
        for _ in range(count):
            workers.put(stack.enter_context(make()))
        threads = stack.enter_context(ThreadPoolExecutor(count))
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        waiting = iter(enumerate(tasks))
        running: dict[Future[Any], int] = {}
        while True:
            for number, task in islice(waiting, count - len(running)):
                running[threads.submit(work, task)] = number
            if not running:
                return
            ready, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
            if not ready:
                yield None
            for future in ready:
                yield running.pop(future), future.result()
