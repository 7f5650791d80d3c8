"""Raw videos -> train and val shards and an index: plan the tasks, run them, publish the set.

The set depends on the videos and the configuration alone, not on where and in which order the tasks run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from digan import atomic
from digan.data.clips import ClipsConfig
from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.dataset import ingest_records
from pipelines.dataset.ingest_plan import by_split, planned
from pipelines.dataset.ingest_records import IngestResult
from pipelines.dataset.ingest_tasks import IngestTask
from pipelines.dataset.shard_index import INDEX, Shard, ShardIndex, digest_of, index_to_json
from pipelines.dataset.shard_writer import REPORT, ShardsConfig, chunk_of
from pipelines.video.raw_video import RawVideo
from pipelines.video.transcode import ChannelStatistics

NAMED = 5  # refused files in the last line
REFUSED = ".refused.json"  # all of them, where they are too many
LIBRARIES = ("numpy", "torch", "pillow", "decord", "av", "webdataset", "simplejpeg")  # torch resizes

Run = Callable[[Sequence[IngestTask]], Iterator[tuple[int, IngestResult] | None]]


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to make of the videos. The set goes to ``shards.address``, or to ``out``; its index is in ``out``.

    ``source`` is what the index says of the source. ``classes``: whether the videos' classes become labels.
    ``max_rejected``: the largest share of unusable videos.
    """

    source: dict[str, Any]
    classes: bool
    max_rejected: float
    clips: ClipsConfig
    shards: ShardsConfig
    out: Path

    @property
    def address(self) -> str:
        """Where the shards go."""
        return self.shards.address or str(self.out)


def make_shards(videos: Sequence[RawVideo], request: IngestRequest, run: Run) -> str:
    """Make the set and return a summary in one line. ``run`` runs tasks and yields the number and result of
    each as it ends, and ``None`` now and then.

    Continues an interrupted ingest of the same input. ``UserError`` where nothing is usable, too much is refused or
    ``out`` cannot be written; an older set then stays.
    """
    out, address = request.out, request.address
    _check_writable(out)
    classes = tuple(sorted({video.class_name or "" for video in videos})) if request.classes else ()
    wanted = _tasks(videos, classes, request)
    done = _results(wanted, run)
    _check_usable(wanted, done, request)
    index = _index(wanted, done, classes, request)
    records = [record for each in done for record in each.records]
    report = json.dumps(_report(records, index), indent=1) + "\n"
    ingest_records.publish(address, index, report)
    if request.shards.address:
        atomic.write_text(out / REPORT, report)
        atomic.write_text(out / INDEX, index_to_json(index, beside=False))
    (out / REFUSED).unlink(missing_ok=True)
    return _summary(index, records)


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); change its permissions") from error


def _tasks(videos: Sequence[RawVideo], classes: tuple[str, ...], request: IngestRequest) -> list[IngestTask]:
    in_use = ingest_records.shards_in_use(request.address)
    software = {name: version(name).partition("+")[0] for name in LIBRARIES}  # whatever the build
    return [
        IngestTask(
            split=split,
            number=number,
            videos=chunk,
            classes=classes,
            clips=request.clips,
            shards=request.shards,
            software=software,
            address=request.address,
            in_use={path: sha256 for path, sha256 in in_use.items() if chunk_of(path) == (split, number)},
        )
        for split, chosen in by_split(videos, request.clips).items()
        for number, chunk in enumerate(planned(chosen, request.clips, request.shards))
    ]


def _results(wanted: list[IngestTask], run: Run) -> list[IngestResult]:
    """The results in the order of the tasks: those of an earlier ingest, and the rest from ``run``."""
    found = [ingest_records.restored(task.address, task.record, task.fingerprint, task.in_use) for task in wanted]
    missing = [number for number, each in enumerate(found) if each is None]
    for ended in run([wanted[number] for number in missing]):
        if ended is not None:
            found[missing[ended[0]]] = ended[1]
    results = [each for each in found if each is not None]
    assert len(results) == len(wanted)
    return results


def _check_usable(wanted: list[IngestTask], done: list[IngestResult], request: IngestRequest) -> None:
    """``UserError`` where a split has nothing, or more was refused than ``max_rejected`` allows."""
    records = [record for each in done for record in each.records]
    rejected = {record["name"]: record["rejected"] for record in records if record["rejected"]}
    names = _named(records)
    for split in {task.split: None for task in wanted}:
        if any(each.shards for task, each in zip(wanted, done, strict=True) if task.split == split):
            continue
        ingest_records.delete_all_but(request.address, ingest_records.shards_in_use(request.address))
        with suppress(OSError):
            request.out.rmdir()  # unless an older set is there
        raise UserError(f"no usable video for the {split} split: {len(rejected)} refused: {names}; add videos")
    if len(rejected) > request.max_rejected * len(records):
        # What was made stays: with a higher limit the same command has it at once.
        atomic.write_json(request.out / REFUSED, rejected, indent=1)
        raise UserError(
            f"source.max_rejected={request.max_rejected}: {len(rejected)} of {len(records)} videos were refused: {names};"
            f" {request.out / REFUSED} names all; repair or remove them, or raise the limit"
        )


def _named(records: list[dict[str, Any]]) -> str:
    rejected = [record for record in records if record["rejected"]]
    more = f" and {len(rejected) - NAMED} more" if len(rejected) > NAMED else ""
    return ", ".join(f"{record['name']} ({record['rejected']})" for record in rejected[:NAMED]) + more


def _report(records: list[dict[str, Any]], index: ShardIndex) -> dict[str, Any]:
    """The content of ingest_report.json: what was refused and why, and what the videos are like."""
    used = [record for record in records if not record["rejected"]]
    per_class = Counter(record["category"] or "" for record in used)
    return {
        "videos": len(records),
        "used": len(used),
        "rejected": {record["name"]: record["rejected"] for record in records if record["rejected"]},
        "decoded_with_pyav": {record["name"]: record["note"] for record in used if record["decoder"] == "pyav"},
        "unsteady": [record["name"] for record in used if not record["constant_frame_rate"]],
        "classes": dict(sorted(per_class.items())),
        "codecs": dict(sorted(Counter(record["codec"] for record in used).items())),
        "sizes": dict(Counter("x".join(map(str, record["size"])) for record in used).most_common()),
        "rates": {str(rate): n for rate, n in sorted(Counter(record["fps"] or 0.0 for record in used).items())},
        "frames": {str(count): n for count, n in sorted(Counter(record["frames"] for record in used).items())},
        "statistics": index.statistics,
    }


def _index(
    wanted: list[IngestTask], done: list[IngestResult], classes: tuple[str, ...], request: IngestRequest
) -> ShardIndex:
    splits: dict[str, tuple[Shard, ...]] = {TRAIN: (), VALIDATION: ()}
    levels = ChannelStatistics()
    used: Counter[bool] = Counter()
    for task, each in zip(wanted, done, strict=True):
        splits[task.split] += each.shards
        levels += each.levels
        used.update(not record["rejected"] for record in each.records)
    counts = {
        split: {
            "shards": len(listed),
            "segments": sum(len(shard.windows) for shard in listed),
            "clips": sum(shard.clips for shard in listed),
            "bytes": sum(shard.bytes for shard in listed),
        }
        for split, listed in splits.items()
    }
    clips = request.clips
    return ShardIndex(
        address=request.address,
        resolution=clips.resolution,
        frames=clips.frames,
        frame_stride=clips.frame_stride,
        encoding=request.shards.encoding,
        classes=classes,
        splits=splits,
        source={**request.source, "videos": used[True], "rejected": used[False]},
        software=wanted[0].software,
        counts=counts,
        statistics={"frames_sampled": levels.values // clips.resolution**2, **levels.described()},
        digest=digest_of(splits),
    )


def _summary(index: ShardIndex, records: list[dict[str, Any]]) -> str:
    parts = [f"{split} {count['clips']} clips in {count['shards']} shards" for split, count in index.counts.items()]
    line = f"ingest: {index.source['videos']} videos used, {'; '.join(parts)}; {index.source['rejected']} refused"
    return f"{line}: {_named(records)}; see {REPORT}" if index.source["rejected"] else line
