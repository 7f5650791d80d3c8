"""Atomic writing: concurrent writers, failures, folders."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from digan import atomic

SIZE = 200_000


def _write_often(path: Path, letter: int, times: int) -> None:
    for _ in range(times):
        atomic.write_bytes(path, bytes([letter]) * SIZE)


def _write_folders(path: Path, letter: int, times: int) -> None:
    for _ in range(times):
        with atomic.replacing(path) as part:
            part.mkdir()
            for name in ("a", "b"):
                (part / name).write_bytes(bytes([letter]) * 1000)


def test_threads_and_processes_write_one_path_and_a_reader_sees_whole_contents_only(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    atomic.write_bytes(path, b"?" * SIZE)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_often, args=(path, letter, 20)) for letter in b"ab"]
    failed: list[BaseException] = []

    def work(letter: int) -> None:
        try:
            _write_often(path, letter, 20)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in b"cdef"]
    for writer in (*processes, *threads):
        writer.start()
    while any(writer.is_alive() for writer in (*processes, *threads)):
        content = path.read_bytes()
        assert len(content) == SIZE and len(set(content)) == 1
    for writer in (*processes, *threads):
        writer.join()
    assert not failed and [process.exitcode for process in processes] == [0, 0]
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_threads_replace_one_folder_without_failing_or_mixing(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    failed: list[BaseException] = []

    def work(letter: int) -> None:
        try:
            _write_folders(path, letter, 15)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in b"abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (path / "a").read_bytes() == (path / "b").read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("folder", [False, True])
def test_failure_keeps_the_old_content_and_leaves_nothing_else(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "target"
    atomic.write_text(path / "old" if folder else path, "old")
    with pytest.raises(KeyError), atomic.replacing(path) as part:
        if folder:
            part.mkdir()
        (part / "new" if folder else part).write_text("new")
        raise KeyError
    assert (path / "old" if folder else path).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_full_disk_is_reported_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic.write_bytes(tmp_path / "file", b"new")
    assert caught.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_is_reported_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError) as caught:
        atomic.write_bytes(tmp_path / "file" / "below", b"")
    assert caught.value.filename == str(tmp_path / "file")


def test_json_has_two_spaces_and_a_newline_and_parts_are_recognized(tmp_path: Path) -> None:
    assert atomic.write_json(tmp_path / "a.json", {"a": [1]}) == tmp_path / "a.json"
    text = (tmp_path / "a.json").read_text()
    assert text == '{\n  "a": [\n    1\n  ]\n}\n' and json.loads(text) == {"a": [1]}
    with atomic.replacing(tmp_path / "b") as part:
        part.write_bytes(b"")
        assert atomic.is_part(part.name)
    assert not atomic.is_part("b") and not atomic.is_part(".b") and not atomic.is_part("b.part")
