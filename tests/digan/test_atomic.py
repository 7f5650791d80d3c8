"""Atomic writing: concurrent writers, failures, folders."""

from __future__ import annotations

import ast
import errno
import json
import multiprocessing
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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


def _append_lines(path: Path, writer: int) -> None:
    for number in range(40):
        atomic.write_json(path, {"writer": writer, "number": number, "filler": "x" * 5000})


def test_processes_of_many_threads_write_one_path(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_threads_write, args=(path, first)) for first in (0, 10, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(json.loads(path.read_text())["filler"]) == 5000
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def _threads_write(path: Path, first: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(_append_lines, path), range(first, first + 4)))


@pytest.mark.parametrize("name", ["x" * 250, "\U0001f600" * 60, "a b'\"$%?\n"], ids=("long", "unicode", "signs"))
def test_any_name_that_a_file_may_have_can_be_written(tmp_path: Path, name: str) -> None:
    assert atomic.write_text(tmp_path / name, "text").read_text() == "text"
    with atomic.replacing(tmp_path / name) as part:
        part.write_text("new")
        assert atomic.is_part(part.name)
    assert (tmp_path / name).read_text() == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("folder", [False, True])
def test_link_stays_a_link(tmp_path: Path, folder: bool) -> None:
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    atomic.write_text(target / "file" if folder else target, "old")
    link.symlink_to(target)
    with atomic.replacing(link) as part:
        if folder:
            part.mkdir()
        (part / "file" if folder else part).write_text("new")
    assert link.is_symlink() and (target / "file" if folder else target).read_text() == "new"
    assert {entry.name for entry in target.parent.iterdir()} == {"target"}


ROOT = Path(__file__).resolve().parents[2]
COPIES = {"copy", "copy2", "copyfile", "copytree", "move"}  # of shutil
IN_PLACE = {  # functions that write without ``replacing``, and why they may
    "pipelines/registry/versions.py _new_version": "a temporary folder, which is uploaded",
    "pipelines/sources/synthetic_files.py write_video": "called within replacing",
    "pipelines/cluster/scratch_folder.py scratch_folder": "the file of a lock",
    "pipelines/cluster/scratch_folder.py _remove_if_abandoned": "the file of a lock",
    "pipelines/cluster/scratch_folder.py write_token": "a new file that only its own process reads",
    "pipelines/sweeps/trial.py _checkpoint": "a folder for Tune, which copies it at once",
    "pipelines/training_run/run_fingerprint.py sole_writer": "the file of a lock",
    "pipelines/training_run/training_log.py report": "a log that grows by whole lines",
}


def _writers(tree: ast.AST, function: str = "", safe: bool = False) -> Iterator[str]:
    """The functions that write a file outside a block of ``replacing``."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef) else function
        within = safe or (isinstance(node, ast.With) and any("replacing(" in ast.unparse(i) for i in node.items))
        if isinstance(node, ast.Call) and not within and _writes(node):
            yield inside
        yield from _writers(node, inside, within)


def _writes(call: ast.Call) -> bool:
    *of, name = ast.unparse(call.func).rsplit(".", 1)
    arguments = [ast.unparse(word) for word in (*call.args, *(word.value for word in call.keywords))]
    if any(argument in ("memory", "stream") for argument in arguments):
        return False
    if name == "open":
        return any(re.fullmatch(r"'(w|a|x|r\+)[bt+]*'", argument) for argument in arguments)
    if name in ("write_text", "write_bytes"):
        return bool(of) and of[0] not in ("atomic", "file_io")
    return name in ("save", "savez") or (of == ["shutil"] and name in COPIES)


def test_every_file_is_written_by_the_atomic_writer() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()} {function}"
        for folder in ("digan", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for function in _writers(ast.parse(path.read_text()))
    }
    assert found == set(IN_PLACE)
