"""Run independent tasks on Ray, as many at once as the cluster has free cores, or in threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

Task = TypeVar("Task")
Done = TypeVar("Done")

TASKS_PER_CORE = 2  # submitted at once, so that no core waits for the driver


def run(
    work: Callable[[Task], Done], tasks: Sequence[Task], *, cores_each: float = 1, seconds: float = 5.0
) -> Iterator[tuple[int, Done] | None]:
    """Yield (index, result) of each task as it completes, and ``None`` after ``seconds`` without a result.

    Needs a connection to Ray. ``work`` is a function of a module, which a task imports from the driver's code. A task whose
    machine is lost runs again on another; a task's error is raised here. Closing the iterator cancels the running tasks.
    """
    import ray

    remote = ray.remote(num_cpus=cores_each, max_retries=3)(lambda task: work(task))
    remaining = iter(enumerate(tasks))
    running: dict[Any, int] = {}
    try:
        while True:
            capacity = TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1) / cores_each))
            for index, task in islice(remaining, max(0, capacity - len(running))):
                running[remote.remote(task)] = index
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=seconds)
            if not ready:
                yield None
            for reference in ready:
                yield running.pop(reference), _result(reference)
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


def run_in_threads(
    make: Callable[[], Any], tasks: Sequence[Task], *, threads: int, seconds: float = 5.0
) -> Iterator[tuple[int, Any] | None]:
    """Like ``run``, in threads of this process; ``make()`` gives each a context whose value is called with tasks."""
    count = min(threads, max(1, len(tasks)))
    idle: SimpleQueue[Callable[[Task], Any]] = SimpleQueue()

    def work(task: Task) -> Any:
        worker = idle.get()
        try:
            return worker(task)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(make()))
        pool = stack.enter_context(ThreadPoolExecutor(count))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        remaining = iter(enumerate(tasks))
        running: dict[Future[Any], int] = {}
        while True:
            for index, task in islice(remaining, count - len(running)):
                running[pool.submit(work, task)] = index
            if not running:
                return
            ready, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
            if not ready:
                yield None
            for future in ready:
                yield running.pop(future), future.result()
