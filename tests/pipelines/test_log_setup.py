"""Logging to stderr, and the exit message of a user error."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from digan.errors import UserError
from pipelines import log_setup
from pipelines.exit_status import run_stage


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    log_setup.configure()


def test_warning_goes_to_stderr_with_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(lambda: logging.getLogger("pipelines.sources").warning("3 videos are skipped"))
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"\d\d:\d\d:\d\d WARNING pipelines\.sources: 3 videos are skipped\n", err)


def test_worker_lines_have_the_rank_and_are_not_repeated_by_the_root_logger(capsys: pytest.CaptureFixture[str]) -> None:
    log_setup.configure()
    log_setup.configure(rank=3)
    logging.getLogger("digan.training").info("started")
    logging.getLogger("digan.training").debug("detail")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "INFO [rank 3] digan.training: started" in lines[0]
    assert not logging.getLogger("digan").propagate


def test_user_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def stage() -> None:
        raise UserError("a.b=1: is\n wrong; try 2")

    with pytest.raises(SystemExit) as caught:
        run_stage(stage)
    assert caught.value.code == 2 and capsys.readouterr().err == "error: a.b=1: is wrong; try 2\n"
