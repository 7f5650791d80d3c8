"""Synchronization of a run with ``cluster.storage`` on S3: shards and records are uploaded, results are downloaded.

The driver can then be a job on any machine, in a temporary folder, and the same command still resumes the run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from digan import class_names
from digan.data.clips import ClipsConfig
from digan.errors import UserError
from digan.generator_io import CONFIG, WEIGHTS
from digan.training import checkpoint
from digan.training.checkpoint import FolderStore
from pipelines.dataset.shard_index import INDEX, ShardIndex, index_to_json, read_index
from pipelines.storage import file_io
from pipelines.training_run.checkpoint_store import store_at
from pipelines.training_run.run_fingerprint import ORIGIN

RECORDS = ("origin.json", "run.json", "log.jsonl", "index.json")  # in the order of their upload
SHARDS = "shards"
SYNC_INTERVAL = 30.0  # seconds between two checks for changed records


def open_shards(clips: ClipsConfig, local: Path, storage: str) -> tuple[ShardIndex, str]:
    """Index and address of the local shards, else of those at ``storage``; ``UserError`` if ``clips`` have another size."""
    at_storage = storage and not (local / INDEX).exists()
    address = file_io.join(storage, SHARDS) if at_storage else str(local.absolute())
    index = read_index(address)
    if (index.resolution, index.frames) != (clips.resolution, clips.frames):
        found = f"clips of {index.resolution} pixels and {index.frames} frames"
        wanted = f"params.yaml asks for {clips.resolution} and {clips.frames}"
        raise UserError(f"{address}: has {found}, {wanted}; make the shards again: python -m pipelines.ingest")
    return index, address


def publish_shards(local: str, storage: str, notify: Callable[[str], None]) -> str:
    """Upload local shards to ``storage`` unless they are on S3 already; returns the address to read from."""
    index = read_index(local)
    if file_io.is_remote(index.address):
        return index.address
    target = file_io.join(storage, SHARDS)
    if file_io.exists(file_io.join(target, INDEX)):
        published = read_index(target).digest
        if published == index.digest:
            return target
        other = f"holds the shards of other data ({published[:8]}, not {index.digest[:8]})"
        raise UserError(f"{target}: {other}; set cluster.storage to another prefix, one per run")
    paths = [shard.path for split in index.splits.values() for shard in split]
    notify(f"uploading {len(paths)} shards to {target}, once")
    for path in paths:
        file_io.copy(Path(local) / path, file_io.join(target, path))
    file_io.write_bytes(file_io.join(target, INDEX), index_to_json(index).encode())
    return target


def pull(storage: str, folder: Path) -> None:
    """Download the records of the run at ``storage`` into a folder that has none."""
    if (folder / ORIGIN).exists():
        return
    for name in RECORDS:
        if file_io.exists(file_io.join(storage, name)):
            file_io.copy(file_io.join(storage, name), folder / name)
    if (folder / "index.json").exists():
        fetch(storage, folder)


def fetch(storage: str, folder: Path) -> None:
    """Download the generators and the snapshots; snapshots that are no longer at ``storage`` are removed."""
    remote, local = store_at(file_io.join(storage, "snapshots")), FolderStore(folder / "snapshots")
    snapshots = checkpoint.listed(remote)
    generators = [(store_at(storage), FolderStore(folder), name) for name in ("initial_generator", "generator")]
    for source, target, name in [*generators, *((remote, local, name) for name in snapshots)]:
        target.write(name, _generator_files(source, name))
    for name in set(local.names()) - set(snapshots):
        local.remove(name)


def _generator_files(store: checkpoint.CheckpointStore, name: str) -> dict[str, bytes]:
    files = {}
    with suppress(FileNotFoundError):  # a generator without names of classes
        files[class_names.NAMES] = store.read(name, class_names.NAMES)
    return {**files, **{file: store.read(name, file) for file in (WEIGHTS, CONFIG)}}


@contextmanager
def uploading(folder: Path, storage: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Upload the records in ``folder`` to ``storage`` at the start, at the end, and from a thread whenever they change."""
    uploaded: dict[str, tuple[int, int]] = {}
    ended = threading.Event()

    def push() -> None:
        for path in (folder / name for name in RECORDS if (folder / name).exists()):
            content_tag = (path.stat().st_mtime_ns, path.stat().st_size)
            if uploaded.get(path.name) != content_tag:
                file_io.write_bytes(file_io.join(storage, path.name), path.read_bytes())
                uploaded[path.name] = content_tag

    def keep_pushing() -> None:
        while not ended.wait(SYNC_INTERVAL):
            try:
                push()
            except (OSError, UserError) as error:
                warn(f"the log could not be uploaded to {storage} ({error}); retrying")

    push()
    thread = threading.Thread(target=keep_pushing, name="run-sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        push()
