"""Snapshots: the generator EMA at points spread evenly over a run, each a folder that ``load_generator`` reads."""

from __future__ import annotations

from digan.training.checkpoint import CheckpointStore, listed, name_of


def write(files: dict[str, bytes], store: CheckpointStore, clips_seen: int, *, keep: int) -> None:
    """Write a generator's ``files`` (see ``generator_files``) as the snapshot at ``clips_seen`` and keep ``keep`` in all."""
    store.write(name_of(clips_seen), files)
    found = [int(name) for name in listed(store)]
    for clips in sorted(set(found) - set(thin_out(found, keep))):
        store.remove(name_of(clips))


def thin_out(clips: list[int], keep: int) -> list[int]:
    """The ``keep`` snapshots to keep, ascending: the newest, and of the others the most evenly spaced.

    Removes one at a time: the one whose neighbors are closest to each other (the first one's are 0 and the second).
    """
    kept = sorted(clips)
    while len(kept) > keep:
        gaps = [after - before for before, after in zip([0, *kept], kept[1:], strict=False)]
        del kept[gaps.index(min(gaps)) if gaps else 0]
    return kept
