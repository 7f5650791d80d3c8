"""Messages from workers to the driver through the Ray actor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.cluster.ray_cluster import ClusterConfig, connect
from pipelines.training_run import worker_messages
from pipelines.training_run.worker_messages import Message, MessageQueue, SampleVideos, UserNotice, WorkerMessages

CONFIG = ClusterConfig(
    address="", workers=2, min_workers=0, cpus_per_worker=1, gpus_per_worker=0, max_failures=0, storage=""
)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with connect(CONFIG):
        yield


def take(messages: WorkerMessages, count: int) -> list[Message]:
    """Wait for ``count`` messages."""
    found: list[Message] = []
    end = time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        found += messages.take()
        time.sleep(0.01)
    return found


def send_and_die(messages: WorkerMessages, number: int, count: int) -> None:
    """In a process of its own: many messages, then a death without any cleanup."""
    for step in range(count):
        messages.send(UserNotice(text=f"{number} {step}"))
    messages.send(SampleVideos(clips_seen=number, videos=np.full((2, 3, 3, 64, 64), number, np.uint8)), wait=30)
    os.kill(os.getpid(), signal.SIGKILL)


def test_queue_keeps_order_and_the_largest_permission() -> None:
    queue = MessageQueue()
    assert (queue.take(), queue.allowed()) == ([], -1)
    first, second = UserNotice(text="1"), UserNotice(text="2")
    queue.put(first)
    queue.put(second)
    assert (queue.take(), queue.take()) == ([first, second], [])
    for clips in (40, 20):
        queue.allow(clips)
    assert queue.allowed() == 40


class SlowQueue(MessageQueue):
    """Replies later than any deadline in this test."""

    def take(self) -> list[Message]:
        taken = super().take()
        time.sleep(3)
        return taken


def test_messages_are_not_lost_when_the_driver_takes_them_late(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_messages, "MessageQueue", SlowQueue)
    monkeypatch.setattr(worker_messages, "REPLY_TIMEOUT", 0.5)
    messages = WorkerMessages()
    sent: list[Message] = [UserNotice(text=str(number)) for number in range(3)]
    for message in sent:
        messages.send(message, wait=30)
    assert messages.take() == sent


def test_messages_of_killed_workers_arrive_in_order(ray_here: None) -> None:
    import ray

    messages = WorkerMessages()
    worker = ray.remote(num_cpus=1, max_retries=0)(send_and_die)
    ended = [worker.remote(messages, number, 50) for number in range(2)]
    found = take(messages, 2 * 51)
    for number, reference in enumerate(ended):
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(reference, timeout=60)
        texts = [each.text for each in found if isinstance(each, UserNotice) and each.text.startswith(f"{number} ")]
        assert texts == [f"{number} {step}" for step in range(50)]
        (videos,) = [each.videos for each in found if isinstance(each, SampleVideos) and each.clips_seen == number]
        assert videos.shape == (2, 3, 3, 64, 64) and (videos == number).all()


def test_worker_waits_for_permission_until_its_timeout(ray_here: None) -> None:
    import ray

    messages = WorkerMessages()
    waiting = ray.remote(num_cpus=1)(WorkerMessages.wait_for).remote(messages, 40, timeout=60)
    messages.allow(39)
    assert ray.wait([waiting], timeout=2)[0] == []
    messages.allow(40)
    ray.get(waiting, timeout=30)
    begun = time.monotonic()
    messages.wait_for(41, timeout=0.3)
    assert 0.2 < time.monotonic() - begun < 30


def test_worker_neither_fails_nor_waits_when_the_actor_is_lost(ray_here: None) -> None:
    import ray

    messages = WorkerMessages()
    assert messages.take() == []
    ray.kill(messages._queue, no_restart=True)
    messages.send(UserNotice(text="lost"), wait=1)
    messages.wait_for(10**9, timeout=60)
    assert messages.take() == []
