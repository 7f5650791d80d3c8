"""Stage ``ingest``: raw videos -> train and val shards and an index. ``python -m pipelines.ingest``

The videos of each split are dealt into chunks (plan), each chunk is made by a task on Ray (media/chunks.py), and the
finished set takes the place of an older one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from digan.data.clips import ClipsConfig
from digan.data.splits import TRAIN, VALIDATION
from digan.errors import UserError
from pipelines.media import chunks, shard_writer, storage
from pipelines.media.chunks import ChunkMaker, ChunkTask
from pipelines.media.encode import Levels
from pipelines.media.plan import by_split, planned
from pipelines.media.shard_index import INDEX, Shard, ShardIndex, digest_of, index_to_json
from pipelines.media.shard_writer import REPORT, ChunkDone, ShardsConfig
from pipelines.report.progress_display import ProgressDisplay
from pipelines.services import tasks
from pipelines.sources import SourceConfig, open_source

OUT = Path("outputs/shards")
SHOWN = 5  # refused files named in the last line
LIBRARIES = ("numpy", "torch", "pillow", "decord", "av", "webdataset", "simplejpeg")  # torch resizes

Run = Callable[[Sequence[ChunkTask]], Iterator[tuple[int, ChunkDone] | None]]


def ingest(
    source: SourceConfig,
    clips: ClipsConfig,
    shards: ShardsConfig,
    out: Path,
    *,
    processes: int = 2,
    run: Run | None = None,
) -> str:
    """Make the shards at ``shards.address``, or under ``out``, and return the summary line; the index lies in ``out``.

    ``run`` does the tasks; without it ``processes`` threads of this process do. Goes on where an interrupted start with
    the same input left off. ``UserError`` where nothing usable is found, too much is refused or ``out`` cannot be
    written; an older set then stays as it was.
    """
    videos = open_source(source)
    _check_writable(out)
    place = shards.address or str(out)
    building = storage.join(place, shard_writer.BUILDING)
    classes = tuple(sorted({video.category or "" for video in videos})) if source.classes else ()
    software = {name: version(name).partition("+")[0] for name in LIBRARIES}  # whatever the build
    wanted = [
        ChunkTask(
            split=split,
            number=number,
            videos=chunk,
            clips=clips,
            shards=shards,
            software=software,
            building=building,
        )
        for split, chosen in by_split(videos, clips).items()
        for number, chunk in enumerate(planned(chosen, classes, clips, shards))
    ]
    done = _make(wanted, place, len(videos), run or _here(processes))
    records = [record for each in done for record in each.records]
    refused = [record for record in records if record["refused"]]
    _check_usable(wanted, done, refused, source, building, out)
    index = _index(wanted, done, source, classes, clips, shards, software, place)
    report = json.dumps(_report(records, index), indent=1) + "\n"
    shard_writer.put_in_place(building, place, _all_shards(index), index_to_json(index), report)
    if shards.address:
        storage.write_bytes(out / REPORT, report.encode())
        storage.write_bytes(out / INDEX, index_to_json(index, beside=False).encode())
    return _summary(index, refused)


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); change its permissions") from error


def _here(processes: int) -> Run:
    return lambda wanted: tasks.run_here(ChunkMaker, wanted, processes=processes)


def _make(wanted: list[ChunkTask], place: str, videos: int, run: Run) -> list[ChunkDone]:
    """All chunks in their order: those of an earlier start, and the rest by ``run``."""
    progress = ProgressDisplay("ingest", videos)
    found = [shard_writer.restored(task.building, place, task.split, task.number, task.fingerprint) for task in wanted]
    known = sum(len(each.records) for each in found if each is not None)
    progress.skip(known)
    if known:
        progress.message(f"resuming after {known} videos of an earlier start")
    frames = refused = 0
    missing = [number for number, each in enumerate(found) if each is None]
    for ended in run([wanted[number] for number in missing]):
        if ended is None:
            progress.advance()
        else:
            found[missing[ended[0]]] = ended[1]
            frames += sum(record["frames"] for record in ended[1].records)
            refused += sum(bool(record["refused"]) for record in ended[1].records)
            progress.advance(len(ended[1].records), f"{frames / progress.seconds:.0f} frames/s, {refused} refused")
    progress.close()
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


def _check_usable(
    wanted: list[ChunkTask],
    done: list[ChunkDone],
    refused: list[dict[str, Any]],
    source: SourceConfig,
    building: str,
    out: Path,
) -> None:
    """``UserError`` where a split has nothing or more was refused than ``source.max_refused`` allows."""
    names = ", ".join(f"{record['name']} ({record['refused']})" for record in refused[:SHOWN])
    videos = sum(len(each.records) for each in done)
    mistake = ""
    for split in {task.split: None for task in wanted}:
        if not any(each.shards for task, each in zip(wanted, done, strict=True) if task.split == split):
            mistake = f"no usable video for the {split} split: {len(refused)} refused: {names}; add videos"
            break
    if not mistake and len(refused) > source.max_refused * videos:
        mistake = (
            f"source.max_refused={source.max_refused}: {len(refused)} of {videos} videos were refused: {names};"
            f" all are named in {out / '.refused.json'}; mend or remove them, or raise it"
        )
    if not mistake:
        return
    text = json.dumps({record["name"]: record["refused"] for record in refused}, indent=1)
    if "max_refused" in mistake:  # what was made is kept: with a higher threshold the same command has it at once
        storage.write_bytes(out / ".refused.json", text.encode())
    else:
        storage.delete_below(building)
        with suppress(OSError):
            out.rmdir()  # unless an older set lies there
    raise UserError(mistake)


def _all_shards(index: ShardIndex) -> list[Shard]:
    return [shard for listed in index.splits.values() for shard in listed]


def _report(records: list[dict[str, Any]], index: ShardIndex) -> dict[str, Any]:
    """What ingest_report.json says: what was refused and why, and what the videos are like."""
    used = [record for record in records if not record["refused"]]
    per_class = Counter(record["category"] or "" for record in used)
    return {
        "videos": len(records),
        "used": len(used),
        "refused": {record["name"]: record["refused"] for record in records if record["refused"]},
        "decoded_with_pyav": {record["name"]: record["note"] for record in used if record["decoder"] == "pyav"},
        "unsteady": [record["name"] for record in used if not record["steady"]],
        "classes": dict(sorted(per_class.items())),
        "codecs": dict(sorted(Counter(record["codec"] for record in used).items())),
        "sizes": dict(Counter("x".join(map(str, record["size"])) for record in used).most_common()),
        "rates": {str(rate): n for rate, n in sorted(Counter(record["fps"] or 0.0 for record in used).items())},
        "frames": {str(count): n for count, n in sorted(Counter(record["frames"] for record in used).items())},
        "statistics": index.statistics,
    }


def _index(
    wanted: list[ChunkTask],
    done: list[ChunkDone],
    source: SourceConfig,
    classes: tuple[str, ...],
    clips: ClipsConfig,
    shards: ShardsConfig,
    software: dict[str, str],
    place: str,
) -> ShardIndex:
    splits: dict[str, tuple[Shard, ...]] = {TRAIN: (), VALIDATION: ()}
    levels = Levels()
    used: Counter[bool] = Counter()
    for task, each in zip(wanted, done, strict=True):
        splits[task.split] += each.shards
        levels += each.levels
        used.update(bool(record["refused"]) for record in each.records)
    counts = {
        split: {
            "shards": len(listed),
            "segments": sum(len(shard.windows) for shard in listed),
            "clips": sum(shard.clips for shard in listed),
            "bytes": sum(shard.bytes for shard in listed),
        }
        for split, listed in splits.items()
    }
    return ShardIndex(
        address=place,
        resolution=clips.resolution,
        frames=clips.frames,
        frame_stride=clips.frame_stride,
        encoding=shards.encoding,
        classes=classes,
        splits=splits,
        origin={**asdict(source), "videos": used[False], "refused": used[True]},
        software=software,
        counts=counts,
        statistics={"frames_sampled": levels.values // clips.resolution**2, **levels.described()},
        digest=digest_of(splits),
    )


def _summary(index: ShardIndex, refused: list[dict[str, Any]]) -> str:
    parts = [f"{split} {count['clips']} clips in {count['shards']} shards" for split, count in index.counts.items()]
    line = f"ingest: {index.origin['videos']} videos used, {'; '.join(parts)}; {len(refused)} refused"
    if refused:
        names = ", ".join(f"{record['name']} ({record['refused']})" for record in refused[:SHOWN])
        more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        line += f": {names}{more}; see {REPORT}"
    return line


def main(argv: list[str] | None = None) -> None:
    """Read params.yaml, make the shards on Ray, and the page that shows them."""
    from pipelines.params import load
    from pipelines.report import data_page
    from pipelines.services import cluster

    params = load()
    began = time.monotonic()

    def on_ray(wanted: Sequence[ChunkTask]) -> Iterator[tuple[int, ChunkDone] | None]:
        if wanted:
            with cluster.connect(params.cluster):
                yield from tasks.run(chunks.make_chunk, wanted)

    line = ingest(params.source, params.clips, params.shards, OUT, run=on_ray)
    page = data_page.write(OUT)
    print(f"{line}; {time.monotonic() - began:.1f} s; look at {page}", flush=True)


if __name__ == "__main__":
    from pipelines.errors import run_stage

    run_stage(lambda: main(sys.argv[1:]))
