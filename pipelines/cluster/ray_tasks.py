"""Run independent tasks on Ray, as many at once as the cluster has free cores, or in threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from pipelines.cluster import preflight

Task = TypeVar("Task")
Done = TypeVar("Done")

TASKS_PER_CORE = 2  # submitted at once, so that no core waits for the driver
REFRESH = 5.0  # seconds without a result after which ``None`` is yielded


def run(work: Callable[[Task], Done], tasks: Sequence[Task]) -> Iterator[tuple[int, Done] | None]:
    """Yield (index, result) of each task as it completes, and ``None`` after ``REFRESH`` seconds without a result.

    Needs a connection to Ray. ``work`` is a function of a module, which a task imports from the driver's code. A task whose
    machine is lost runs again on another; a task's error is raised here. Closing the iterator cancels the running tasks.
    """
    import ray

    variables = preflight.environment()

    def run_task(task: Task) -> Done:
        for name, value in variables.items():
            os.environ.setdefault(name, value)
        return work(task)

    remote = ray.remote(num_cpus=1, max_retries=3)(run_task)
    running: set[Any] = set()

    def submit(task: Task) -> Future[Done]:
        reference = remote.remote(task)
        running.add(reference)
        future: Future[Done] = reference.future()
        future.add_done_callback(lambda _: running.discard(reference))
        return future

    def capacity() -> int:
        return TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))

    try:
        yield from _as_completed(tasks, submit, capacity)
    except ray.exceptions.RayTaskError as error:
        raise getattr(error, "cause", None) or error from None
    finally:
        for reference in list(running):
            ray.cancel(reference, force=False)


def run_in_threads(make: Callable[[], Any], tasks: Sequence[Task], *, threads: int) -> Iterator[tuple[int, Any] | None]:
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
        yield from _as_completed(tasks, lambda task: pool.submit(work, task), lambda: count)


def _as_completed(
    tasks: Sequence[Task], submit: Callable[[Task], Future[Done]], capacity: Callable[[], int]
) -> Iterator[tuple[int, Done] | None]:
    """Keep ``capacity()`` tasks submitted; yield as in ``run``."""
    remaining = iter(enumerate(tasks))
    running: dict[Future[Done], int] = {}
    while True:
        for index, task in islice(remaining, max(0, capacity() - len(running))):
            running[submit(task)] = index
        if not running:
            return
        ready = wait(running, timeout=REFRESH, return_when=FIRST_COMPLETED).done
        if not ready:
            yield None
        for future in ready:
            yield running.pop(future), future.result()
