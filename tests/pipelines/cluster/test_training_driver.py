"""How the driver of a training handles its workers' messages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.cluster import training_driver
from pipelines.cluster.training_driver import MessageHandler, TrainingAbortedError, TrialHooks
from pipelines.report.progress_display import ProgressDisplay
from pipelines.training_run.training_log import TrainingLog
from pipelines.training_run.worker_messages import Message, MessageQueue, TrialMeasured, WorkerFailed, WorkerStarted
from tests.pipelines.small_run import log_of, report


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TrainingLog]:
    log = TrainingLog(tmp_path, track=lambda metrics, clips: None, track_file=lambda path: None)
    yield log
    log.close()


def run(
    log: TrainingLog, messages: list[Message], fit: Callable[[], object] = lambda: None, trial: TrialHooks | None = None
) -> tuple[str, MessageQueue]:
    """What the driver displays, and the queue afterwards."""
    queue, stream = MessageQueue(), io.StringIO()
    for message in messages:
        queue.put(message)
    handler = MessageHandler(log, ProgressDisplay("train", stream=stream), 3, trial)
    training_driver._run(fit, queue, handler)  # type: ignore[arg-type]
    return stream.getvalue(), queue


def test_restart_is_shown_and_repeated_reports_are_logged_once(log: TrainingLog, tmp_path: Path) -> None:
    lost = WorkerFailed(kind="loss", rank=1, text="RuntimeError: gloo: connection closed")
    shown, _ = run(log, [WorkerStarted(workers=2), report(40), lost, WorkerStarted(workers=1), report(20), report(60)])
    assert "worker 1 stopped" in shown
    assert "resuming from the latest checkpoint with 1 workers, restart 1 of at most 3" in shown
    assert [line["clips_seen"] for line in log_of(tmp_path)] == [40, 60]


def test_users_mistake_in_a_worker_stays_one_line(log: TrainingLog) -> None:
    with pytest.raises(UserError, match=r"^shard is missing$"):
        run(log, [WorkerFailed(kind="mistake", rank=0, text="shard is missing")])


def test_bug_in_a_worker_shows_its_traceback(log: TrainingLog) -> None:
    with pytest.raises(TrainingAbortedError, match="worker 1:\nTraceback"):
        run(log, [WorkerFailed(kind="bug", rank=1, text="Traceback ...")])


def test_failed_training_says_how_often_it_was_started(log: TrainingLog) -> None:
    from ray.train import TrainingFailedError

    def fit() -> None:
        raise TrainingFailedError("a worker died")

    with pytest.raises(TrainingAbortedError, match=r"gave up after 1 starts \(cluster.max_failures=3\)\na worker died"):
        run(log, [WorkerStarted(workers=2)], fit)


def test_error_of_the_driver_itself_passes_unchanged(log: TrainingLog) -> None:
    with pytest.raises(ZeroDivisionError):
        run(log, [WorkerStarted(workers=2)], lambda: 1 / 0)


def test_measured_trial_continues_after_the_hook(log: TrainingLog, tmp_path: Path) -> None:
    measured = TrialMeasured(clips_seen=40, values={"objective": 1.0})
    started = WorkerStarted(workers=1)
    seen: list[WorkerStarted | TrialMeasured] = []
    hooks = TrialHooks(
        objective=lambda clips, _: {}, on_started=seen.append, on_measured=seen.append, gpu_share=1.0, run_file=tmp_path
    )
    _, queue = run(log, [started, measured], trial=hooks)
    assert (seen, queue.allowed()) == ([started, measured], 40)
