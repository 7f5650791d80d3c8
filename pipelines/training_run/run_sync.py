"""Synchronize a run whose home is S3 (``cluster.storage``): its records go there, results come back, shards go there once.

So the driver can be a job on any machine, in a temporary folder, and the same command still resumes the run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from digan.errors import UserError
from digan.generator_io import CONFIG, WEIGHTS
from digan.training import checkpoint
from digan.training.checkpoint import FolderStore
from pipelines.dataset.shard_index import INDEX, index_to_json, read_index
from pipelines.storage import file_io
from pipelines.training_run import run_fingerprint
from pipelines.training_run.checkpoint_store import copy, store_at

BOOKS = ("origin.json", "run.json", "log.jsonl", "index.json")
SHARDS = "shards"
EVERY = 30.0  # seconds between two checks for changed files
GENERATOR_FILES = (WEIGHTS, CONFIG)


def find_shards(local: Path, home: str) -> str:
    """The shards' address for the workers: beside the run on S3, or the local folder."""
    if home and not (local / INDEX).exists():
        return file_io.join(home, SHARDS)
    return str(local.absolute())


def publish_shards(local: str, home: str, say: Callable[[str], None]) -> str:
    """Upload local shards beside the run on S3, unless they are there; returns the address to read from."""
    index = read_index(local)
    if file_io.is_remote(index.address):
        return index.address
    target = file_io.join(home, SHARDS)
    if file_io.exists(file_io.join(target, INDEX)):
        there = read_index(target)
        if there.digest == index.digest:
            return target
        raise UserError(
            f"{target}: holds the shards of other data ({there.digest[:8]}, not {index.digest[:8]}); set cluster.storage "
            "to another prefix, one per run"
        )
    paths = [shard.path for listed in index.splits.values() for shard in listed]
    say(f"uploading {len(paths)} shards to {target}, once")
    for path in paths:
        file_io.upload(Path(local) / path, file_io.join(target, path))
    file_io.write_bytes(file_io.join(target, INDEX), index_to_json(index).encode())
    return target


def pull(home: str, folder: Path) -> None:
    """Download the records of the run at ``home`` into a folder that has none."""
    if (folder / run_fingerprint.ORIGIN).exists():
        return
    for name in BOOKS:
        if file_io.exists(file_io.join(home, name)):
            file_io.download(file_io.join(home, name), folder / name)
    if (folder / run_fingerprint.INDEX).exists():
        fetch(home, folder)


def fetch(home: str, folder: Path) -> None:
    """Download the generators and the snapshots; snapshots that are no longer at ``home`` are removed."""
    source, target = store_at(home), FolderStore(folder)
    for name in ("initial_generator", "generator"):
        copy(source, name, GENERATOR_FILES, target)
    away, here = store_at(file_io.join(home, "snapshots")), FolderStore(folder / "snapshots")
    present = checkpoint.listed(away)
    for name in present:
        copy(away, name, GENERATOR_FILES, here)
    for name in set(here.names()) - set(present):
        here.remove(name)


class RunSync:
    """Upload the records in ``folder`` to ``home`` whenever they change, from a thread; a context manager."""

    def __init__(self, folder: Path, home: str, warn: Callable[[str], None]) -> None:
        self._folder, self._home, self._warn = folder, home, warn
        self._sent: dict[str, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="books", daemon=True)

    def __enter__(self) -> RunSync:
        if self._home:
            self.push()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._home:
            self._stop.set()
            self._thread.join()
            self.push()

    def push(self) -> None:
        """Upload what has changed, index.json last."""
        for name in BOOKS:
            path = self._folder / name
            if path.exists():
                content_tag = (path.stat().st_mtime_ns, path.stat().st_size)
                if self._sent.get(name) != content_tag:
                    file_io.write_bytes(file_io.join(self._home, name), path.read_bytes())
                    self._sent[name] = content_tag

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.push()
            except (OSError, UserError) as error:
                self._warn(f"the log could not be uploaded to {self._home} ({error}); retrying")
