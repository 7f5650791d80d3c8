"""The mailbox between workers and the driver, on one machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.services.channel import Channel, Message, Notice, Samples


def taken(channel: Channel, count: int) -> list[Message]:
    """So many messages, as they come."""
    found: list[Message] = []
    end = time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        found += channel.take()
        time.sleep(0.01)
    return found


def say(channel: Channel, number: int, count: int) -> None:
    """In a process of its own: many messages, and an end without any farewell."""
    for step in range(count):
        channel.send(Notice(text=f"{number} {step}"))
    channel.send(Samples(clips_seen=number, videos=np.full((2, 3, 3, 64, 64), number, np.uint8)), wait=5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_all_arrives_in_each_workers_order_though_they_are_killed(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=say, args=(channel, number, 50)) for number in range(2)]
    for process in processes:
        process.start()
    messages = taken(channel, 2 * 51)
    for number, process in enumerate(processes):
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        own = [each.text for each in messages if isinstance(each, Notice) and each.text.startswith(f"{number} ")]
        assert own == [f"{number} {step}" for step in range(50)]
        (videos,) = [each.videos for each in messages if isinstance(each, Samples) and each.clips_seen == number]
        assert videos.shape == (2, 3, 3, 64, 64) and (videos == number).all()
    channel.close()


def test_a_worker_waits_until_the_driver_lets_it_go_on(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    worker: Channel = pickle.loads(pickle.dumps(channel))
    passed = threading.Event()
    thread = threading.Thread(target=lambda: (worker.wait_for(40, patience=60), passed.set()), daemon=True)
    thread.start()
    channel.allow(39)
    assert not passed.wait(0.5)
    channel.allow(40)
    assert passed.wait(30)
    begun = time.monotonic()
    worker.wait_for(41, patience=0.3)  # nobody lets it go on: its patience ends
    assert 0.2 < time.monotonic() - begun < 30
    channel.close()


def test_whoever_does_not_have_the_key_is_not_heard_and_disturbs_nobody(tmp_path: Path) -> None:
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client

    channel = Channel(tmp_path)
    (address,) = tmp_path.iterdir()
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(str(address), "AF_UNIX", authkey=b"guessed")
    pickle.loads(pickle.dumps(channel)).send(Notice(text="heard"))
    assert taken(channel, 1) == [Notice(text="heard")]
    channel.close()


def test_after_the_end_a_worker_neither_waits_nor_fails(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    worker: Channel = pickle.loads(pickle.dumps(channel))
    worker.send(Notice(text="one"))
    assert taken(channel, 1) == [Notice(text="one")]
    threads = [each for each in threading.enumerate() if each.name == "mailbox"]
    channel.close()
    for _ in range(3):
        worker.send(Notice(text="two"))
    worker.wait_for(10**9, patience=60)
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
