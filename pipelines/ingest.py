"""Stage ``ingest``: raw videos -> train and val shards and an index. ``python -m pipelines.ingest``"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from digan.data.clips import ClipsConfig
from digan.data.splits import TRAIN, VALIDATION, shuffled, split_of
from digan.errors import UserError
from pipelines.media import encode, frames, isolation, pictures, shard_writer
from pipelines.media.encode import EncodedVideo, EncodeJob
from pipelines.media.progress import Progress
from pipelines.media.shard_index import ShardIndex, digest_of, index_to_json
from pipelines.media.shard_writer import ShardsConfig
from pipelines.sources import RawVideo, SourceConfig, open_source

OUT = Path("outputs/shards")
SHARDS_AT_LEAST = 8  # a split of enough videos has this many, so that every worker finds its own
SHOWN = 5  # refused files named in the last line
LIBRARIES = ("numpy", "pillow", "decord", "av", "webdataset")


def ingest(source: SourceConfig, clips: ClipsConfig, shards: ShardsConfig, out: Path, *, processes: int = 2) -> str:
    """Make the shards under ``out`` and return the summary line.

    Goes on where an interrupted start with the same input left off. ``UserError`` where nothing usable is found or
    ``out`` cannot be written; an older set under ``out`` then stays as it was.
    """
    videos = open_source(source)
    by_split = _split(videos, clips)
    building = out / shard_writer.BUILDING
    try:
        building.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); change its permissions") from error
    classes = tuple(sorted({video.category or "" for video in videos})) if source.classes else ()
    software = {name: version(name) for name in LIBRARIES}
    progress = Progress(len(videos))
    writers: dict[str, shard_writer.SplitWriter] = {}
    records: list[dict[str, Any]] = []
    with isolation.IsolatedPool(encode.FUNCTION, processes=processes) as pool:
        for split, chosen in by_split.items():
            writer = shard_writer.SplitWriter(
                folder=building,
                split=split,
                fingerprint=_fingerprint(chosen, classes, clips, shards, software),
                suffix=pictures.SUFFIX[shards.encoding],
                limit=int(shards.megabytes * 1e6),
                most_videos=max(1, len(chosen) // SHARDS_AT_LEAST),
            )
            writers[split] = writer
            records += _write_split(writer, chosen, classes, clips, shards, pool, progress)
    refused = [record for record in records if record["refused"]]
    for split, writer in writers.items():
        if not writer.shards and by_split[split]:
            names = ", ".join(f"{record['name']} ({record['refused']})" for record in refused[:SHOWN])
            shutil.rmtree(building, ignore_errors=True)
            with suppress(OSError):
                out.rmdir()  # unless an older set lies there
            raise UserError(f"no usable video for the {split} split: {len(refused)} refused: {names}; add videos")
    index = _index(writers, records, source, classes, clips, shards, software, out)
    report = {
        "videos": len(videos),
        "used": len(videos) - len(refused),
        "refused": {record["name"]: record["refused"] for record in refused},
        "decoded_with_pyav": {record["name"]: record["note"] for record in records if record["decoder"] == "pyav"},
    }
    shard_writer.put_in_place(building, out, list(writers), index_to_json(index), json.dumps(report, indent=1) + "\n")
    return _summary(index, refused)


def _split(videos: list[RawVideo], clips: ClipsConfig) -> dict[str, list[RawVideo]]:
    """The videos of each split in an order that mixes folders and classes; a data set's own split goes before the hash.

    ``val`` is empty only where the source has decided so for every video.
    """
    by_name = {video.name: video for video in videos}
    by_split: dict[str, list[RawVideo]] = {TRAIN: [], VALIDATION: []}
    for name in shuffled(list(by_name)):
        by_split[by_name[name].split or split_of(name, clips.validation_share)].append(by_name[name])
    decided = all(video.split for video in videos)
    if decided and not by_split[TRAIN]:
        raise UserError(f"none of the {len(videos)} videos is in the train split; look at the list that splits them")
    for split, chosen in by_split.items():
        if not chosen and not decided:
            raise UserError(
                f"clips.validation_share={clips.validation_share}: none of the {len(videos)} videos falls into the"
                f" {split} split; use more videos or another share, such as 0.5"
            )
    return by_split


def _write_split(
    writer: shard_writer.SplitWriter,
    videos: list[RawVideo],
    classes: tuple[str, ...],
    clips: ClipsConfig,
    shards: ShardsConfig,
    pool: isolation.IsolatedPool,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Decode what is not in a whole shard yet and write it; the records of all videos of the split."""
    done = writer.resume()
    records = list(done.records)
    progress.resumed(done.video)
    rest = videos[done.video :]
    jobs = [
        EncodeJob(
            path=video.path,
            clips=clips,
            encoding=shards.encoding,
            jpeg_quality=shards.jpeg_quality,
            kind=video.kind,
            cut=video.cut,
        )
        for video in rest
    ]
    with closing(_encoded(pool, jobs)) as results:
        for number, (video, result) in enumerate(zip(rest, results, strict=True), start=done.video):
            label = classes.index(video.category or "") if classes else None
            rate = None if result.fps is None else result.fps / clips.frame_stride
            meta = {"name": video.name, "category": video.category, "label": label, "fps": rate}
            for part, segment in enumerate(result.segments):
                if (number, part) >= (done.video, done.segment):
                    writer.add(meta, segment, video=number, number=part, clip_frames=clips.frames)
            record = {
                "name": video.name,
                "refused": result.refused,
                "decoder": result.decoder,
                "note": result.note,
                "frames": result.frames,
            }
            writer.record(record)
            records.append(record)
            progress.step(result)
    writer.close_shard(video=len(videos), segment=0)
    return records


def _encoded(pool: isolation.IsolatedPool, jobs: list[EncodeJob]) -> Generator[EncodedVideo, None, None]:
    for result in pool.map(jobs, _seconds):
        yield encode.refusal(result.reason) if isinstance(result, isolation.Lost) else result


def _seconds(job: EncodeJob) -> float:
    """The time that a video may take: a minute, and 5 s for each megabyte."""
    try:
        size = frames.bytes_and_time(job.path)[1] if job.kind == "frames" else job.path.stat().st_size
        return 60 + 5 * size / 1e6
    except OSError:
        return 60


def _fingerprint(
    videos: list[RawVideo], classes: tuple[str, ...], clips: ClipsConfig, shards: ShardsConfig, software: dict[str, str]
) -> str:
    """Everything that the bytes of a split depend on, with files known by name, size and time of change."""
    files: list[tuple[object, ...]] = []
    for video in videos:
        known = (video.name, video.category, video.kind, video.cut)
        try:
            if video.kind == "frames":
                files.append((*known, *frames.bytes_and_time(video.path)))
            else:
                stat = video.path.stat()
                files.append((*known, stat.st_size, stat.st_mtime_ns))
        except OSError:
            files.append((*known, -1, -1))
    text = json.dumps([files, classes, asdict(clips), asdict(shards), software], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _index(
    writers: dict[str, shard_writer.SplitWriter],
    records: list[dict[str, Any]],
    source: SourceConfig,
    classes: tuple[str, ...],
    clips: ClipsConfig,
    shards: ShardsConfig,
    software: dict[str, str],
    out: Path,
) -> ShardIndex:
    splits = {split: tuple(writer.shards) for split, writer in writers.items()}
    counts = {
        split: {
            "shards": len(listed),
            "segments": sum(len(shard.windows) for shard in listed),
            "clips": sum(shard.clips for shard in listed),
            "bytes": sum(shard.bytes for shard in listed),
        }
        for split, listed in splits.items()
    }
    used = Counter(bool(record["refused"]) for record in records)
    return ShardIndex(
        folder=out.absolute(),
        resolution=clips.resolution,
        frames=clips.frames,
        frame_stride=clips.frame_stride,
        encoding=shards.encoding,
        classes=classes,
        splits=splits,
        origin={**asdict(source), "videos": used[False], "refused": used[True]},
        software=software,
        counts=counts,
        digest=digest_of(splits),
    )


def _summary(index: ShardIndex, refused: list[dict[str, Any]]) -> str:
    parts = [f"{split} {count['clips']} clips in {count['shards']} shards" for split, count in index.counts.items()]
    line = f"ingest: {index.origin['videos']} videos used, {'; '.join(parts)}; {len(refused)} refused"
    if refused:
        names = ", ".join(f"{record['name']} ({record['refused']})" for record in refused[:SHOWN])
        more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        line += f": {names}{more}; see ingest_report.json"
    return line


def main(argv: list[str] | None = None) -> None:
    """Read params.yaml and make the shards."""
    from pipelines.params import load

    params = load()
    began = time.monotonic()
    line = ingest(params.source, params.clips, params.shards, OUT)
    print(f"{line}; {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    from pipelines.errors import run_stage

    run_stage(lambda: main(sys.argv[1:]))
