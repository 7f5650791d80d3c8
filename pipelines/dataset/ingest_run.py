"""Raw videos -> train and val shards and an index: plan the tasks, run them, publish the set.

The set depends only on the videos and the configuration, not on where and in which order the tasks run. Shards are
written once, under their final names, beside an older set if there is one. The index replaces the older one in a single
write, which makes the set visible; only then the older shards are deleted.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from digan import atomic
from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.dataset import class_coverage
from pipelines.dataset.ingest_plan import videos_by_split, videos_by_task
from pipelines.dataset.ingest_tasks import RECORDS, IngestRequest, IngestResult, IngestTask
from pipelines.dataset.shard_index import INDEX, Shard, ShardIndex, digest_of, index_to_json, read_index
from pipelines.dataset.shard_writer import REPORT, task_of
from pipelines.storage import file_io
from pipelines.video.raw_video import RawVideo
from pipelines.video.transcode import ChannelStatistics

NAMED = 5  # rejected videos in a line
REJECTED = ".refused.json"  # all of them, if they are too many
LIBRARIES = ("numpy", "torch", "pillow", "av", "webdataset", "simplejpeg")  # torch resizes

Results = Iterator[tuple[int, IngestResult] | None]
Run = Callable[[Sequence[IngestTask]], Results]


def make_shards(videos: Sequence[RawVideo], request: IngestRequest, run: Run) -> str:
    """Make the set and return a summary in one line; resumes an interrupted ingest of the same input.

    ``run`` runs tasks and yields the number and result of each as it completes, and ``None`` now and then. ``UserError``
    if nothing is usable, too many videos are rejected or ``out`` is not writable; an older set is then kept.
    """
    out, clips = request.out, request.clips
    _check_writable(out)
    unread = {video.name: video.rejected for video in videos if video.rejected}
    videos = [video for video in videos if not video.rejected]
    classes = tuple(sorted({video.class_name or "" for video in videos})) if request.source["classes"] else ()
    tasks = _tasks(videos, classes, request)
    results = _results(tasks, run)
    splits: dict[str, tuple[Shard, ...]] = {TRAIN: (), VALIDATION: ()}
    for task, result in zip(tasks, results, strict=True):
        splits[task.split] += result.shards
    records = [record for result in results for record in result.records]
    rejected = unread | {record["name"]: record["rejected"] for record in records if record["rejected"]}
    used = [record for record in records if not record["rejected"]]
    _check_usable({task.split: splits[task.split] for task in tasks}, rejected, len(used) + len(rejected), request)
    levels = sum((result.levels for result in results), ChannelStatistics())
    index = ShardIndex(
        address=request.address,
        resolution=clips.resolution,
        frames=clips.frames,
        frame_stride=clips.frame_stride,
        encoding=request.shards.encoding,
        classes=classes,
        splits=splits,
        source={**request.source, "videos": len(used), "rejected": len(rejected)},
        software=tasks[0].software,
        counts={split: _counts(listed) for split, listed in splits.items()},
        statistics={"frames_sampled": levels.values // clips.resolution**2, **levels.described()},
        digest=digest_of(splits),
        settings={"clips": asdict(clips), "shards": asdict(request.shards)},
    )
    without = _classes_without_train_clips(tasks, results) if classes else {}
    report = {"videos": len(used) + len(rejected), "used": len(used), "rejected": rejected, class_coverage.KEY: without}
    report |= {**_properties(used), "statistics": index.statistics}
    text = json.dumps(report, indent=1) + "\n"
    for folder in dict.fromkeys((index.address, str(out))):  # the index, written last, makes the set visible
        file_io.write_bytes(file_io.join(folder, REPORT), text.encode())
        file_io.write_bytes(file_io.join(folder, INDEX), index_to_json(index, beside=folder == index.address).encode())
    _delete_all_but(index.address, {shard.path for shard in index.shards})
    (out / REJECTED).unlink(missing_ok=True)
    parts = [f"{split} {count['clips']} clips in {count['shards']} shards" for split, count in index.counts.items()]
    line = f"ingest: {index.source['videos']} videos used, {'; '.join(parts)}; {len(rejected)} rejected"
    return f"{line}: {_named(rejected)}; see {REPORT}" if rejected else line


def _classes_without_train_clips(tasks: Sequence[IngestTask], results: Sequence[IngestResult]) -> dict[str, str]:
    """The classes of a labeled set that have no clip in train, and why (``class_coverage``)."""
    return class_coverage.classes_without_train_clips(
        (record["category"] or "", task.split, bool(record["rejected"]))
        for task, result in zip(tasks, results, strict=True)
        for record in result.records
    )


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); change its permissions") from error


def _tasks(videos: Sequence[RawVideo], classes: tuple[str, ...], request: IngestRequest) -> list[IngestTask]:
    published = _published_shards(request.address)
    libraries = (*LIBRARIES, *(["decord"] if request.source["decoder"] == "decord" else []))
    software = {name: version(name).partition("+")[0] for name in libraries}  # without the build's label
    return [
        IngestTask(
            request=request,
            split=split,
            task_number=number,
            videos=chosen,
            classes=classes,
            software=software,
            published={path: sha256 for path, sha256 in published.items() if task_of(path) == (split, number)},
        )
        for split, listed in videos_by_split(videos, request.clips).items()
        for number, chosen in enumerate(videos_by_task(listed, request.clips, request.shards))
    ]


def _results(tasks: list[IngestTask], run: Run) -> list[IngestResult]:
    """The results in the order of the tasks: those of an earlier ingest, and the rest from ``run``."""
    found = {number: result for number, task in enumerate(tasks) if (result := task.earlier_result()) is not None}
    missing = [number for number in range(len(tasks)) if number not in found]
    found |= {missing[each[0]]: each[1] for each in run([tasks[number] for number in missing]) if each is not None}
    return [found[number] for number in range(len(tasks))]


def _check_usable(
    splits: dict[str, tuple[Shard, ...]], rejected: dict[str, str], videos: int, request: IngestRequest
) -> None:
    """``UserError`` if a split is empty, or if more of the videos were rejected than ``max_rejected`` allows."""
    limit, listing = request.source["max_rejected"], request.out / REJECTED
    for split in (split for split, shards in splits.items() if not shards):
        _delete_all_but(request.address, _published_shards(request.address).keys())
        with suppress(OSError):
            request.out.rmdir()  # unless it has an older set
        rest = f"{len(rejected)} rejected: {_named(rejected)}"
        raise UserError(f"no usable video for the {split} split: {rest}; add videos")
    if len(rejected) > limit * videos:
        # The shards are kept: with a higher limit, the same command needs no decoding.
        atomic.write_json(listing, rejected, indent=1)
        raise UserError(
            f"source.max_rejected={limit}: {len(rejected)} of {videos} videos were rejected: {_named(rejected)};"
            f" {listing} names all; repair or remove them, or raise the limit"
        )


def _named(rejected: dict[str, str]) -> str:
    listed = [f"{name} ({reason})" for name, reason in rejected.items()]
    return ", ".join(listed[:NAMED]) + (f" and {len(listed) - NAMED} more" if len(listed) > NAMED else "")


def _counts(shards: tuple[Shard, ...]) -> dict[str, int]:
    segments, clips = sum(len(shard.windows) for shard in shards), sum(shard.clips for shard in shards)
    return {"shards": len(shards), "segments": segments, "clips": clips, "bytes": sum(shard.bytes for shard in shards)}


def _properties(used: list[dict[str, Any]]) -> dict[str, Any]:
    """What ingest_report.json says about the used videos."""
    return {
        "decoded_with_pyav": {record["name"]: record["note"] for record in used if record["note"]},
        "unsteady": [record["name"] for record in used if not record["constant_frame_rate"]],
        "classes": dict(sorted(Counter(record["category"] or "" for record in used).items())),
        "decoders": dict(Counter(record["decoder"] for record in used).most_common()),
        "codecs": dict(sorted(Counter(record["codec"] for record in used).items())),
        "sizes": dict(Counter("x".join(map(str, record["size"])) for record in used).most_common()),
        "rates": {str(rate): n for rate, n in sorted(Counter(record["fps"] or 0.0 for record in used).items())},
        "frames": {str(count): n for count, n in sorted(Counter(record["frames"] for record in used).items())},
    }


def _published_shards(address: str) -> dict[str, str]:
    """Path and SHA-256 of the shards of the complete set at the address; empty if there is none."""
    if not file_io.exists(file_io.join(address, INDEX)):
        return {}
    try:
        index = read_index(address)
    except UserError:  # damaged, or of another version: nobody can read that set
        return {}
    if file_io.is_remote(index.address) and not file_io.is_remote(address):  # only the index is here
        return {}
    return {shard.path: shard.sha256 for shard in index.shards}


def _delete_all_but(address: str, kept: Collection[str]) -> None:
    """Delete every shard and record of ingests, except the shards at the paths in ``kept``."""
    names = file_io.list_names(address)
    for name in sorted(names, key=lambda name: name.startswith(RECORDS)):  # records last: until then a start resumes
        if name not in kept and re.fullmatch(rf"[a-z]+/\d{{6,}}\.tar|{re.escape(RECORDS)}/.+", name):
            file_io.delete(file_io.join(address, name))
    if not file_io.is_remote(address):
        for path in sorted(Path(address).rglob("*"), reverse=True):  # a folder after its content
            if atomic.is_part(path.name):  # of a killed process
                path.unlink()
            elif path.is_dir():
                with suppress(OSError):  # not empty
                    path.rmdir()
