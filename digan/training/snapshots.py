"""Snapshots of a run: the averaged generator at points spread over the run, each a folder that ``load_generator`` reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from digan.checkpointing import save_generator
from digan.models.generator import Generator


def name_of(clips_seen: int) -> str:
    """The folder's name for a snapshot or checkpoint after ``clips_seen`` clips."""
    return f"{clips_seen:010d}"


def save(generator: Generator, folder: Path, clips_seen: int, *, keep: int) -> Path:
    """Writes ``folder``/CLIPS_SEEN, whole or not at all, and thins the others out to ``keep``; returns the new one's path."""
    path = Path(folder) / name_of(clips_seen)
    save_generator(generator, path)
    found = listed(folder)
    for clips in sorted(set(found) - set(spread(list(found), keep))):
        shutil.rmtree(found[clips])
    return path


def listed(folder: Path) -> dict[int, Path]:
    """Clips seen -> path of every snapshot in ``folder``, in rising order; empty where there is no such folder."""
    if not Path(folder).is_dir():
        return {}
    return {int(path.name): path for path in sorted(Path(folder).iterdir()) if path.name.isdigit()}


def spread(clips: list[int], keep: int) -> list[int]:
    """Which ``keep`` of ``clips`` stay: the newest, and of the others those that lie most evenly, in rising order.

    One is taken out after the other: the one whose neighbours (the first one's are 0 and the second) stand closest together.
    """
    kept = sorted(clips)
    while len(kept) > keep:
        gaps = [after - before for before, after in zip([0, *kept], kept[1:], strict=False)]
        del kept[gaps.index(min(gaps)) if gaps else 0]
    return kept
