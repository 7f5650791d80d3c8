"""Stores of checkpoints, snapshots and generators: a folder or a prefix on S3, both atomic."""

from __future__ import annotations

from pathlib import Path

from digan.training.checkpoint import CheckpointStore, FolderStore
from pipelines.storage import file_io

LAST = ("manifest.json", "config.json")  # one of these is written last, so where it exists, all files do


class RemoteStore:
    """A prefix on S3. A name is listed while its last file exists, which is written last and deleted first."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __str__(self) -> str:
        return self.address

    def names(self) -> list[str]:
        parts = (name.rpartition("/") for name in file_io.list_names(self.address))
        return [folder for folder, _, file in parts if file in LAST and "/" not in folder]

    def write(self, name: str, files: dict[str, bytes]) -> None:
        *_, last = files
        assert last in LAST, last
        file_io.delete(file_io.join(self.address, name, last))
        for file, data in files.items():
            file_io.write_bytes(file_io.join(self.address, name, file), data)

    def read(self, name: str, file: str) -> bytes:
        return file_io.read_bytes(file_io.join(self.address, name, file))

    def remove(self, name: str) -> None:
        files = file_io.list_names(file_io.join(self.address, name))
        for file in sorted(files, key=lambda file: file not in LAST):
            file_io.delete(file_io.join(self.address, name, file))


def store_at(address: str) -> CheckpointStore:
    """The store at a path or an s3:// address."""
    return RemoteStore(address) if file_io.is_remote(address) else FolderStore(Path(address))
