from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.sweeps import reservations
from pipelines.sweeps.reservations import Reservations, alive


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(reservations, "_remove", found.append)
    monkeypatch.setattr(reservations, "SETTLED", 0.1)
    return found


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_process_is_alive_until_it_has_ended() -> None:
    process = sleeper()
    assert alive(process.pid)
    process.kill()
    end = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(process.pid)  # not fetched yet
    process.wait()
    assert not alive(process.pid) and not alive(0)


def test_a_reservation_is_kept_until_its_process_is_gone(removed: list[str], tmp_path: Path) -> None:
    """Given back sooner, the dying trial's controller would reserve anew, and nobody would hold that."""
    process = sleeper()
    (tmp_path / ".train.lock").write_text(str(process.pid))
    held = Reservations()
    held.leave("ab", tmp_path / ".train.lock")
    held.leave("cd", tmp_path / "no.lock")
    held.give_back()
    time.sleep(0.2)
    held.give_back()
    assert removed == ["cd"]
    process.kill()
    process.wait()
    held.give_back()
    assert removed == ["cd"]  # its controller may still be ending
    time.sleep(0.2)
    held.give_back()
    assert removed == ["cd", "ab"] and not held.held


def test_nothing_stays_reserved_after_the_sweep(removed: list[str], tmp_path: Path) -> None:
    process = sleeper()
    (tmp_path / ".train.lock").write_text(str(process.pid))
    held = Reservations()
    held.leave("ab", tmp_path / ".train.lock")
    held.give_back(everything=True)
    process.kill()
    process.wait()
    assert removed == ["ab"]


def test_a_process_that_does_not_end_is_not_waited_for_for_ever(
    removed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "PATIENCE", 0.0)
    process = sleeper()
    (tmp_path / ".train.lock").write_text(str(process.pid))
    held = Reservations()
    held.leave("ab", tmp_path / ".train.lock")
    time.sleep(0.01)
    held.give_back()
    process.kill()
    process.wait()
    assert removed == ["ab"]
