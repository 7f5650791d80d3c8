"""Tasks of an ingest: each turns successive videos of a split into shards, on any core of any machine.

A task contains all its input, so it gives the same bytes wherever it runs. Its record follows its shards, so an interrupted
ingest resumes after the last record. Decoding happens in a child process, which may crash, hang or leak (isolation.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from digan.data.clips import ClipsConfig
from pipelines.dataset.shard_index import Shard, shard_from_json
from pipelines.dataset.shard_writer import IngestWriter, ShardsConfig
from pipelines.storage import file_io
from pipelines.video import image_codec, isolation, transcode
from pipelines.video.isolation import IsolatedPool
from pipelines.video.raw_video import RawVideo
from pipelines.video.transcode import ChannelStatistics, EncodedVideo, EncodeJob

RECORDS = ".building"
DOWNLOADS_AHEAD = 4  # videos fetched from S3 while earlier ones are decoded
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0  # the time limit for a video


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to make of the videos; ``source`` is the section of params.yaml. ``out`` gets the index and, without an address
    on S3, the shards.
    """

    source: dict[str, Any]
    clips: ClipsConfig
    shards: ShardsConfig
    out: Path

    @property
    def address(self) -> str:
        return self.shards.address or str(self.out)


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """A finished task: its shards, an entry of the report for each video, the statistics of its frames."""

    shards: tuple[Shard, ...]
    records: tuple[dict[str, Any], ...]
    levels: ChannelStatistics


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """Videos that become shards, in this order. ``classes``: the names that labels index, empty for unlabeled sets."""

    request: IngestRequest
    split: str
    task_number: int
    videos: tuple[RawVideo, ...]
    classes: tuple[str, ...]
    software: dict[str, str]
    published: dict[str, str]

    def label(self, video: RawVideo) -> int | None:
        return self.classes.index(video.class_name or "") if self.classes else None

    @property
    def record(self) -> str:
        """The address of the record that marks the task as finished."""
        return file_io.join(self.request.address, RECORDS, f"{self.split}-{self.task_number:05d}.json")

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the shards' bytes depend on; videos enter by name, size and content tag."""
        known = [
            (v.name, v.class_name, self.label(v), v.kind, v.window_mode, v.bytes, v.content_tag) for v in self.videos
        ]
        shards = {**asdict(self.request.shards), "address": ""}
        text = json.dumps([known, asdict(self.request.clips), shards, self.software], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def earlier_result(self) -> IngestResult | None:
        """The result, if an earlier ingest with equal input finished the task and its shards are intact."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file_io.read_bytes(self.record))
            shards, sums = tuple(map(shard_from_json, content["shards"])), content["levels"]
            if content["fingerprint"] == self.fingerprint and all(map(self._is_intact, shards)):
                levels = ChannelStatistics(**{**sums, "sums": tuple(sums["sums"]), "squares": tuple(sums["squares"])})
                return IngestResult(shards=shards, records=tuple(content["records"]), levels=levels)
        return None

    def _is_intact(self, shard: Shard) -> bool:
        """Compare local shards by SHA-256, since a disk may lose writes in a power cut; those on S3 by size."""
        path = file_io.join(self.request.address, shard.path)
        if self.published.get(shard.path, shard.sha256) != shard.sha256:
            return False
        if file_io.is_remote(path):
            return file_io.size(path) == shard.bytes
        return hashlib.sha256(file_io.read_bytes(path)).hexdigest() == shard.sha256


@contextlib.contextmanager
def task_runner() -> Iterator[Callable[[IngestTask], IngestResult]]:
    """A function that runs one task after the other, with one child process for decoding."""
    with IsolatedPool(transcode.FUNCTION, processes=1) as pool:
        yield partial(_run, pool)


def run_ingest_task(task: IngestTask) -> IngestResult:
    """Run a task on Ray; its process keeps the decoding child process, which ends with it."""
    return _run(_pool_of_process(), task)


@cache
def _pool_of_process() -> IsolatedPool:
    return IsolatedPool(transcode.FUNCTION, processes=1).__enter__()


def _run(pool: IsolatedPool, task: IngestTask) -> IngestResult:
    """Write the shards, then the record."""
    file_io.delete(task.record)  # one of other input would claim the shards that are overwritten now
    request, clips = task.request, task.request.clips
    suffix, limit = image_codec.SUFFIX[request.shards.encoding], int(request.shards.megabytes * 1e6)
    writer = IngestWriter(request.address, task.split, task.task_number, suffix, limit, task.published)
    records: list[dict[str, Any]] = []
    levels = ChannelStatistics()
    with (
        contextlib.closing(_Jobs(task)) as jobs,
        contextlib.closing(pool.map(jobs, lambda job: job.seconds)) as results,
    ):
        for number, (video, result) in enumerate(zip(task.videos, results, strict=True)):
            encoded = transcode.rejection(result.reason) if isinstance(result, isolation.ItemLost) else result
            fps = None if encoded.fps is None else encoded.fps / clips.frame_stride
            meta = {"name": video.name, "category": video.class_name, "label": task.label(video), "fps": fps}
            for part, segment in enumerate(encoded.segments):
                writer.add(meta, segment, number=part, clip_frames=clips.frames)
            records.append(_record(video, encoded))
            levels += encoded.levels
            jobs.release(number)
    writer.close_shard()
    done = IngestResult(shards=tuple(writer.shards), records=tuple(records), levels=levels)
    file_io.write_bytes(task.record, json.dumps({"fingerprint": task.fingerprint, **asdict(done)}).encode())
    return done


def _record(video: RawVideo, encoded: EncodedVideo) -> dict[str, Any]:
    names = ("rejected", "decoder", "note", "frames", "fps", "constant_frame_rate", "codec")
    known = {"name": video.name, "category": video.class_name, "bytes": video.bytes, "size": list(encoded.size)}
    return known | {name: getattr(encoded, name) for name in names}


class _Jobs(Sequence[EncodeJob]):
    """The jobs of a task. For videos on S3, getting a job waits for its download and starts those of the next ones."""

    def __init__(self, task: IngestTask) -> None:
        self._task = task
        self._folder = tempfile.TemporaryDirectory(prefix="digan-videos-")
        self._threads = ThreadPoolExecutor(DOWNLOADS_AHEAD, thread_name_prefix="videos")
        self._downloads: dict[int, Future[Path]] = {}

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def __len__(self) -> int:
        return len(self._task.videos)

    def __getitem__(self, number: Any) -> Any:
        videos, request = self._task.videos, self._task.request
        for ahead in range(number, min(number + DOWNLOADS_AHEAD, len(self))):
            if ahead not in self._downloads and file_io.is_remote(videos[ahead].path):
                self._downloads[ahead] = self._threads.submit(self._download, ahead)
        return EncodeJob(
            path=self._downloads[number].result() if number in self._downloads else Path(videos[number].path),
            clips=request.clips,
            encoding=request.shards.encoding,
            jpeg_quality=request.shards.jpeg_quality,
            kind=videos[number].kind,
            window_mode=videos[number].window_mode,
            decoder=request.source["decoder"],
            seconds=SECONDS + SECONDS_PER_MEGABYTE * max(videos[number].bytes, 0) / 1e6,
        )

    def release(self, number: int) -> None:
        if number in self._downloads:
            path = self._downloads[number].result()
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _download(self, number: int) -> Path:
        video = self._task.videos[number]
        path = Path(self._folder.name, f"{number}{Path(video.name).suffix}")
        if video.kind == "frames":
            for name in (name for name in file_io.list_names(video.path) if "/" not in name):
                file_io.copy(file_io.join(video.path, name), path / name)
        else:
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed: rejected by name, as on a disk
                file_io.copy(video.path, path)
        return path
