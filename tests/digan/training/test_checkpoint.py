"""Checkpoints and snapshots: atomic, the newest kept, damage detected, a full disk reported."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digan.generator_io import load_generator
from digan.training import checkpoint, snapshots
from digan.training.background import BackgroundTask, Prefetcher
from digan.training.checkpoint import FolderStore
from digan.training.state import TrainingState
from tests.digan.training.test_loop import CPU, MODEL, TRAINING, run, snapshot_folder


def save(state: TrainingState, folder: Path, *, keep: int) -> str:
    return checkpoint.write(checkpoint.capture(state), FolderStore(folder), model=MODEL, keep=keep)


@pytest.mark.parametrize("hurt", ["flip", "cut", "no manifest", "empty manifest"])
def test_newest_are_kept_and_a_damaged_one_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hurt: str
) -> None:
    whole = run(tmp_path)
    kept = checkpoint.listed(FolderStore(tmp_path))
    assert kept == ["0000000032", "0000000024"]
    file = tmp_path / kept[0] / checkpoint.STATE
    data = bytearray(file.read_bytes())
    if hurt == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif hurt == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif hurt == "no manifest":
        (tmp_path / kept[0] / checkpoint.MANIFEST).unlink()
    else:
        (tmp_path / kept[0] / checkpoint.MANIFEST).write_text("")
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and found[0] == kept[1]
    assert kept[0] in caplog.text
    assert torch.equal(run(tmp_path), whole)


def test_a_checkpoint_of_an_older_version_with_its_best_distance_is_read(tmp_path: Path) -> None:
    """Format 2 once held moments of the real pairs and, in the manifest, a distance that chose a best checkpoint."""
    whole = run(tmp_path / "new")
    run(tmp_path / "old", replace(TRAINING, clips=16))
    folder = tmp_path / "old/0000000016"
    content = torch.load(folder / checkpoint.STATE, weights_only=True)
    torch.save(content | {"real_moments": torch.zeros(769, dtype=torch.float64)}, folder / checkpoint.STATE)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    digest = hashlib.sha256((folder / checkpoint.STATE).read_bytes()).hexdigest()
    changes = {"distance": 1.5, "sha256": {checkpoint.STATE: digest}}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest | changes))
    assert torch.equal(run(tmp_path / "old"), whole)


def test_captured_state_does_not_change_with_the_training(tmp_path: Path) -> None:
    state = TrainingState(TRAINING, MODEL, CPU)
    captured = checkpoint.capture(state)
    held = state.generator.state_dict()["mapping.average"].clone()
    with torch.no_grad():
        state.generator_buffer.values.add_(1)
        state.generator.mapping.average.add_(1)
    checkpoint.write(captured, FolderStore(tmp_path), model=MODEL, keep=1)
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and torch.equal(found[1]["generator"]["mapping.average"], held)


def test_full_disk_raises_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond a limit, as a full disk would; half a state does not stay."""
    state = TrainingState(TRAINING, MODEL, CPU)
    first = save(state, tmp_path, keep=1)
    state.clips_seen = 4
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with BackgroundTask() as background, pytest.raises(OSError, match="0000000004"):
            captured = checkpoint.capture(state)
            background.start(lambda: checkpoint.write(captured, FolderStore(tmp_path), model=MODEL, keep=1))
            background.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == [first]
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and found[1]["clips_seen"] == 0


def test_unfinished_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".0000000008-abc").mkdir()
    (tmp_path / ".0000000008-abc/state.pt").write_text("half")
    run(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_snapshots_are_evenly_spaced_and_the_last_is_the_result(tmp_path: Path) -> None:
    whole = run(tmp_path / "run")
    store = FolderStore(snapshot_folder(tmp_path / "run"))
    assert checkpoint.listed(store) == ["0000000032", "0000000024", "0000000016"]
    last = load_generator(store.folder / "0000000032").state_dict()
    assert torch.equal(torch.cat([value.flatten() for value in last.values()]), whole)
    assert snapshots.thin_out([10, 20, 30, 40, 50], 3) == [20, 40, 50]
    assert snapshots.thin_out([10], 3) == [10] and snapshots.thin_out([7, 90, 100], 1) == [100]


def test_prefetcher_keeps_order_raises_errors_and_stops() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("torn")

    with Prefetcher(items(), depth=2) as ahead:
        assert [next(ahead) for _ in range(5)] == list(range(5))
        for _ in range(2):
            with pytest.raises(ValueError, match="torn"):
                next(ahead)
    endless = Prefetcher(iter(int, 1), depth=2)
    next(endless)
    endless.close()
    assert not endless._thread.is_alive()
