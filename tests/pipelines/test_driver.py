"""What the driver of a training makes of its workers' messages."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from digan.errors import UserError
from pipelines import train
from pipelines.report.logbook import Logbook
from pipelines.report.progress_display import ProgressDisplay
from pipelines.services.worker import fault_of
from pipelines.services.worker_messages import WorkerFailed, WorkerStarted
from tests.pipelines.small_run import log_of, report


class FakeTrainer:
    def __init__(self, fit: Callable[[], None]) -> None:
        self.fit = fit


class FakeChannel:
    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take(self) -> list[Any]:
        return [self.messages.get() for _ in range(self.messages.qsize())]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Logbook]:
    book = Logbook(tmp_path, track=lambda metrics, clips: None, track_file=lambda path: None, warn=lambda line: None)
    yield book
    book.close()


def follow(book: Logbook, messages: list[Any], fit: Callable[[], None]) -> str:
    channel, stream = FakeChannel(), io.StringIO()
    for message in messages:
        channel.messages.put(message)
    train._follow(FakeTrainer(fit), channel, book, ProgressDisplay("train", stream=stream), 3, None)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_restart_is_told_and_what_is_done_again_is_written_once(book: Logbook, tmp_path: Path) -> None:
    lost = WorkerFailed(kind="loss", rank=1, text="RuntimeError: connection closed")
    told = follow(
        book,
        [WorkerStarted(workers=2), report(40), lost, WorkerStarted(workers=2), report(20), report(60)],
        lambda: None,
    )
    assert "worker 1 stopped" in told and "restart 1 of at most 3" in told
    assert [line["clips_seen"] for line in log_of(tmp_path)] == [40, 60]


def test_a_users_mistake_in_a_worker_stays_one_line(book: Logbook) -> None:
    with pytest.raises(UserError, match=r"^shard is missing$"):
        follow(book, [WorkerFailed(kind="mistake", rank=0, text="shard is missing")], lambda: None)


def test_a_bug_in_a_worker_shows_its_traceback(book: Logbook) -> None:
    with pytest.raises(train.TrainingFailedError, match="worker 1:\nTraceback"):
        follow(book, [WorkerFailed(kind="bug", rank=1, text="Traceback ...")], lambda: None)


def test_the_end_of_ray_trains_patience_is_told(book: Logbook) -> None:
    def fit() -> None:
        raise RuntimeError("Training failed due to worker errors")

    with pytest.raises(train.TrainingFailedError, match="given up after 1 starts"):
        follow(book, [WorkerStarted(workers=2)], fit)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UserError("a: b"), "mistake"),
        (OSError(28, "No space left on device"), "mistake"),
        (RuntimeError("Connection closed by peer"), "loss"),
        (ConnectionResetError(104, "reset"), "loss"),
        (TypeError("x"), "bug"),
        (AssertionError(), "bug"),
    ],
)
def test_what_a_restart_can_mend(error: Exception, kind: str) -> None:
    assert fault_of(error, 0).kind == kind
