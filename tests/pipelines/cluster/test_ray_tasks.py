"""Tasks on Ray and in threads: every result once, errors unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from pipelines.cluster import ray_cluster, ray_tasks
from pipelines.cluster.ray_cluster import ClusterConfig


def answers(found: list[tuple[int, float] | None]) -> dict[int, float]:
    return dict(each for each in found if each is not None)


def test_threads_give_every_result_once() -> None:
    def make() -> nullcontext[Callable[[float], float]]:
        return nullcontext(math.sqrt)

    for threads in (1, 3, 100):
        assert answers(list(ray_tasks.run_in_threads(make, [1.0, 4.0, 9.0, 16.0], threads=threads))) == {
            0: 1,
            1: 2,
            2: 3,
            3: 4,
        }
    assert list(ray_tasks.run_in_threads(make, [], threads=2)) == []
    with pytest.raises(ValueError):
        list(ray_tasks.run_in_threads(make, [1.0, -1.0, 4.0], threads=2))


@pytest.mark.slow
def test_ray_gives_every_result_once() -> None:
    config = ClusterConfig(
        address="", workers=2, min_workers=0, cpus_per_worker=1, gpus_per_worker=0, max_failures=0, storage=""
    )
    with ray_cluster.connect(config):
        assert answers(list(ray_tasks.run(math.sqrt, [float(k * k) for k in range(9)]))) == {k: k for k in range(9)}
        with pytest.raises(ValueError):
            list(ray_tasks.run(math.sqrt, [1.0, -1.0]))
