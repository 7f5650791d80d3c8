"""Checkpoints and snapshots: whole or not at all, the newest and the best kept, damage found, a full disk told."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from digan.checkpointing import load_generator
from digan.training import checkpoint, snapshots, thumbnails
from digan.training.background import Ahead, Background
from digan.training.checkpoint import FolderStore
from digan.training.state import TrainingState
from tests.digan.test_training import CPU, MODEL, TRAINING, beside, run


def save(state: TrainingState, folder: Path, *, keep: int, distance: float | None = None) -> str:
    return checkpoint.write(checkpoint.freeze(state, distance=distance), FolderStore(folder), keep=keep)


@pytest.mark.parametrize("hurt", ["flip", "cut", "no manifest", "empty manifest"])
def test_the_newest_are_kept_and_a_damaged_one_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hurt: str
) -> None:
    whole = run(tmp_path)
    kept = checkpoint.listed(FolderStore(tmp_path))
    assert kept[:2] == ["0000000032", "0000000024"] and len(kept) <= 3  # and the best
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
    assert kept[0] in capsys.readouterr().err
    assert torch.equal(run(tmp_path), whole)


def test_the_best_is_kept_beside_the_newest(tmp_path: Path) -> None:
    state = TrainingState(TRAINING, MODEL, CPU)
    for clips, distance in ((4, 9.0), (8, 2.0), (12, 5.0), (16, 3.0), (20, 4.0)):
        state.clips_seen = clips
        save(state, tmp_path, keep=2, distance=distance)
    assert [int(name) for name in checkpoint.listed(FolderStore(tmp_path))] == [20, 16, 8]
    assert checkpoint.best_of(FolderStore(tmp_path)) == "0000000008"


def test_what_is_frozen_does_not_move_with_the_training(tmp_path: Path) -> None:
    state = TrainingState(TRAINING, MODEL, CPU)
    frozen = checkpoint.freeze(state)
    held = state.generator.state_dict()["mapping.average"].clone()
    with torch.no_grad():
        state.flat_generator.values.add_(1)
        state.generator.mapping.average.add_(1)
    checkpoint.write(frozen, FolderStore(tmp_path), keep=1)
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and torch.equal(found[1]["generator"]["mapping.average"], held)


def test_a_full_disk_is_named_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond a limit, as a full disk would; half a state does not stay."""
    state = TrainingState(TRAINING, MODEL, CPU)
    first = save(state, tmp_path, keep=1)
    state.clips_seen = 4
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with Background() as background, pytest.raises(OSError, match="0000000004"):
            frozen = checkpoint.freeze(state)
            background.do(lambda: checkpoint.write(frozen, FolderStore(tmp_path), keep=1))
            background.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == [first]
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and found[1]["clips_seen"] == 0


def test_what_killed_writers_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".0000000008-abc").mkdir()
    (tmp_path / ".0000000008-abc/state.pt").write_text("half")
    run(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_snapshots_spread_over_the_run_and_the_last_is_the_result(tmp_path: Path) -> None:
    whole = run(tmp_path / "run")
    store = FolderStore(beside(tmp_path / "run"))
    assert checkpoint.listed(store) == ["0000000032", "0000000024", "0000000016"]
    last = load_generator(store.folder / "0000000032").state_dict()
    assert torch.equal(torch.cat([value.flatten() for value in last.values()]), whole)
    assert snapshots.spread([10, 20, 30, 40, 50], 3) == [20, 40, 50]
    assert snapshots.spread([10], 3) == [10] and snapshots.spread([7, 90, 100], 1) == [100]


def test_the_coarse_distance_orders_damage() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(64, 2, 3, 4, 4, generator=generator).repeat_interleave(8, 3).repeat_interleave(8, 4) * 2 - 1

    def moments(frames: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(1 + 2 * thumbnails.THUMBNAIL_FEATURES, dtype=torch.float64)
        for part in frames.split(16):
            thumbnails.follow(found, thumbnails.features(part))
        return found

    real = moments(base[:32])
    found = [float(thumbnails.distance(real, moments(base[32:] * s))) for s in (1.0, 0.7, 0.4, 0.0)]
    assert found == sorted(found) and found[0] > 0
    features = torch.cat([thumbnails.features(part) for part in base[:32].split(16)]).double()
    other = thumbnails.features(base[32:]).double()
    by_hand = (features.mean(0) - other.mean(0)).square().sum()
    by_hand = by_hand + (features.std(0, correction=0) - other.std(0, correction=0)).square().sum()
    assert found[0] == pytest.approx(float(by_hand), rel=1e-6)


def test_reading_ahead_keeps_order_and_errors_and_ends() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("torn")

    with Ahead(items(), depth=2) as ahead:
        assert [next(ahead) for _ in range(5)] == list(range(5))
        for _ in range(2):
            with pytest.raises(ValueError, match="torn"):
                next(ahead)
    endless = Ahead(iter(int, 1), depth=2)
    next(endless)
    endless.close()
    assert not endless._thread.is_alive()
