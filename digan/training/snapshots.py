"""Snapshots of a run: the averaged generator at points spread over the run, each a folder that ``load_generator`` reads."""

from __future__ import annotations

from digan.training.checkpoint import CheckpointStore, listed, name_of


def write(files: dict[str, bytes], store: CheckpointStore, clips_seen: int, *, keep: int) -> None:
    """Puts a generator's ``files`` (``generator_files``) under CLIPS_SEEN and thins the others out to ``keep``."""
    store.write(name_of(clips_seen), files)
    found = [int(name) for name in listed(store)]
    for clips in sorted(set(found) - set(thin_out(found, keep))):
        store.remove(name_of(clips))


def thin_out(clips: list[int], keep: int) -> list[int]:
    """Which ``keep`` of ``clips`` stay: the newest, and of the others those that lie most evenly, in rising order.

    One is taken out after the other: the one whose neighbours (the first one's are 0 and the second) stand closest together.
    """
    kept = sorted(clips)
    while len(kept) > keep:
        gaps = [after - before for before, after in zip([0, *kept], kept[1:], strict=False)]
        del kept[gaps.index(min(gaps)) if gaps else 0]
    return kept
