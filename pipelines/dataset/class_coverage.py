"""Classes without a clip in the train split, whose label a class-conditional model never sees, and why they have none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError, listed
from pipelines.dataset.shard_writer import REPORT
from pipelines.storage import file_io

KEY = "classes_without_train_clips"  # of the ingest report


def classes_without_train_clips(videos: Iterable[tuple[str, str, bool]]) -> dict[str, str]:
    """Each such class and the reason. A video is given by its class, its split, and whether it was rejected."""
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    for name, split, rejected in videos:
        counts.setdefault(name, Counter())[split, rejected] += 1
    return {name: _reason(count) for name, count in sorted(counts.items()) if not count[TRAIN, False]}


def _reason(count: Counter[tuple[str, bool]]) -> str:
    """Where the videos of a class are, when none is usable in train."""
    places = {
        "in the val split": count[VALIDATION, False],
        "rejected": count[TRAIN, True] + count[VALIDATION, True],
    }
    return ", ".join(f"{number} {place}" for place, number in places.items() if number)


def note(without: Mapping[str, str]) -> str:
    """One line that names the classes, for people; empty without any."""
    if not without:
        return ""
    named = listed(f"{name} ({reason})" for name, reason in without.items())
    have = "1 class has" if len(without) == 1 else f"{len(without)} classes have"
    remedy = "add videos of these classes, change the split, or leave them out with source.only_classes"
    return f"note: {have} no clip in train, so a model cannot learn them: {named}; {remedy}"


def recorded(folder: Path) -> dict[str, str]:
    """What the ingest report beside an index says; nothing where there is no report, or one of an earlier version."""
    try:
        report = json.loads(file_io.read_bytes(folder / REPORT))
        return dict(report.get(KEY, {}))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        problem = f"is damaged ({error}); make it again, with python -m pipelines.ingest"
        raise UserError(f"{folder / REPORT}: {problem}") from error
