"""Divergence: NaN in the data and a collapsed discriminator loss; stopping and rolling back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digan.training import checkpoint
from digan.training.checkpoint import FolderStore
from digan.training.divergence import DivergedError, DivergenceMonitor
from digan.training.state import TrainingState
from digan.types import FramePair
from tests.digan.training.test_loop import CPU, MODEL, TRAINING, batch, run

POISONED = 5  # the update whose data holds a NaN, after 20 of 32 clips


def poisoned(start: int, seed: int) -> Iterator[list[FramePair]]:
    """Real pairs with a NaN that only the first seed draws."""
    while True:
        pair = batch(start)
        if start == POISONED and seed == TRAINING.seed:
            pair.frames[0, 0, 0, 0, 0] = torch.nan
        yield [pair]
        start += 1


def test_nan_raises_diverged_error_and_keeps_finite_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(
        DivergedError, match=r"at 24 clips: NaN or infinity in .*loss/discriminator.*on_divergence=rollback"
    ):
        run(tmp_path, reader=poisoned)
    found = checkpoint.newest(FolderStore(tmp_path))
    assert found is not None and found[0] == "0000000016"
    assert all(bool(torch.isfinite(value).all()) for value in found[1]["generator"].values())


def test_rollback_continues_with_another_seed_and_resumes_exactly(tmp_path: Path) -> None:
    training = replace(TRAINING, on_divergence="rollback")
    notices: list[str] = []
    whole = run(tmp_path / "a", training, reader=poisoned, notices=notices)
    assert torch.isfinite(whole).all()
    assert len(notices) == 1 and "rolled back to 16 clips with another seed" in notices[0]
    last = checkpoint.newest(FolderStore(tmp_path / "a"))
    assert last is not None and last[1]["rollbacks"] == 1
    # stopped after the rollback and resumed: equal bits
    run(tmp_path / "b", replace(training, clips=28), reader=poisoned)
    assert torch.equal(run(tmp_path / "b", training, reader=poisoned), whole)


def test_repeated_divergence_raises_after_three_rollbacks(tmp_path: Path) -> None:
    def always(start: int, seed: int) -> Iterator[list[FramePair]]:
        while True:
            pair = batch(start)
            pair.frames[:] = torch.nan
            yield [pair]

    with pytest.raises(DivergedError, match="3 rollbacks did not recover it"):
        run(tmp_path, replace(TRAINING, on_divergence="rollback"), reader=always)


def test_collapsed_discriminator_loss_is_a_divergence() -> None:
    state = TrainingState(replace(TRAINING, collapse_loss=0.1, collapse_clips=16), MODEL, CPU)
    monitor = DivergenceMonitor()

    def check(loss: float) -> object:
        for _ in range(2):
            monitor.add({"loss/discriminator": torch.tensor(loss)})
            state.clips_seen += 4
        return monitor.check(state, weights=False)

    assert [check(loss) for loss in (1.0, 0.01, 1.0, 0.01)] == [None] * 4
    divergence = check(0.01)
    assert divergence is not None
    assert "below training.collapse_loss=0.1 since 24 clips" in divergence.text and divergence.last_good_clips == 24  # type: ignore[attr-defined]
