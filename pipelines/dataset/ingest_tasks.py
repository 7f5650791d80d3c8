"""Tasks of an ingest: each turns successive videos of a split into shards, on any core of any machine.

A task contains all its input, so it gives the same bytes wherever it runs. Decoding happens in a child process, which may
crash, hang or leak (isolation.py). Videos on S3 are downloaded to a temporary folder, a few ahead. A task's record follows
its shards, so an interrupted ingest resumes after the last record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digan.data.clips import ClipsConfig
from pipelines.dataset.shard_index import Shard, shard_from_json
from pipelines.dataset.shard_writer import IngestWriter, ShardsConfig
from pipelines.storage import file_io
from pipelines.video import image_codec, isolation, transcode
from pipelines.video.raw_video import RawVideo
from pipelines.video.transcode import ChannelStatistics, EncodedVideo, EncodeJob

RECORDS = ".building"
DOWNLOADS_AHEAD = 4  # videos fetched from S3 while earlier ones are decoded
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0  # the time limit for a video


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """A finished task: its shards, an entry of the report for each video, the statistics of its frames."""

    shards: tuple[Shard, ...]
    records: tuple[dict[str, Any], ...]
    levels: ChannelStatistics


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """Videos that become shards below ``address``, in this order; ``published`` as in ``IngestWriter``.

    ``classes``: the names that labels index, empty for unlabeled sets.
    """

    split: str
    task_number: int
    videos: tuple[RawVideo, ...]
    classes: tuple[str, ...]
    clips: ClipsConfig
    shards: ShardsConfig
    software: dict[str, str]
    address: str
    published: dict[str, str]

    def label(self, video: RawVideo) -> int | None:
        """The index of the video's class."""
        return self.classes.index(video.class_name or "") if self.classes else None

    @property
    def record(self) -> str:
        """The address of the record that marks the task as finished."""
        return file_io.join(self.address, RECORDS, f"{self.split}-{self.task_number:05d}.json")

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the shards' bytes depend on; videos enter by name, size and content tag."""
        known = [
            (v.name, v.class_name, self.label(v), v.kind, v.window_mode, v.bytes, v.content_tag) for v in self.videos
        ]
        config = {**asdict(self.shards), "address": ""}
        text = json.dumps([known, asdict(self.clips), config, self.software], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def earlier_result(self) -> IngestResult | None:
        """The result, if an earlier ingest with equal input finished the task and its shards are intact.

        Local shards are compared by SHA-256, since a disk may lose writes in a power cut; on S3 by size.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file_io.read_bytes(self.record))
            if content["fingerprint"] != self.fingerprint:
                return None
            shards = tuple(map(shard_from_json, content["shards"]))
            if not all(self.published.get(s.path, s.sha256) == s.sha256 and self._is_intact(s) for s in shards):
                return None
            kept = content["levels"]
            levels = ChannelStatistics(values=kept["values"], sums=tuple(kept["sums"]), squares=tuple(kept["squares"]))
            return IngestResult(shards=shards, records=tuple(content["records"]), levels=levels)
        return None

    def _is_intact(self, shard: Shard) -> bool:
        path = file_io.join(self.address, shard.path)
        if file_io.is_remote(path):
            return file_io.size(path) == shard.bytes
        with file_io.open_read(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == shard.sha256  # type: ignore[arg-type]


class IngestRunner:
    """Runs tasks one after the other, with one child process for decoding: ``with IngestRunner() as run: run(task)``."""

    def __init__(self) -> None:
        self._pool = isolation.IsolatedPool(transcode.FUNCTION, processes=1)

    def __enter__(self) -> IngestRunner:
        self._pool.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    def __call__(self, task: IngestTask) -> IngestResult:
        """Write the shards, then the record."""
        file_io.delete(task.record)  # one of other input would claim the shards that are overwritten now
        writer = IngestWriter(
            address=task.address,
            split=task.split,
            task_number=task.task_number,
            suffix=image_codec.SUFFIX[task.shards.encoding],
            limit=int(task.shards.megabytes * 1e6),
            published=task.published,
        )
        records: list[dict[str, Any]] = []
        levels = ChannelStatistics()
        jobs = _Jobs(task)
        with jobs, contextlib.closing(self._pool.map(jobs, lambda job: job.seconds)) as results:
            for number, (video, result) in enumerate(zip(task.videos, results, strict=True)):
                encoded = transcode.rejection(result.reason) if isinstance(result, isolation.ItemLost) else result
                fps = None if encoded.fps is None else encoded.fps / task.clips.frame_stride
                meta = {"name": video.name, "category": video.class_name, "label": task.label(video), "fps": fps}
                for part, segment in enumerate(encoded.segments):
                    writer.add(meta, segment, number=part, clip_frames=task.clips.frames)
                records.append(_record(video, encoded))
                levels += encoded.levels
                jobs.release(number)
        writer.close_shard()
        done = IngestResult(shards=tuple(writer.shards), records=tuple(records), levels=levels)
        file_io.write_bytes(task.record, json.dumps({"fingerprint": task.fingerprint, **asdict(done)}).encode())
        return done


def _record(video: RawVideo, encoded: EncodedVideo) -> dict[str, Any]:
    """The report's entry of a video."""
    names = ("rejected", "decoder", "note", "frames", "fps", "constant_frame_rate", "codec")
    known = {"name": video.name, "category": video.class_name, "bytes": video.bytes, "size": list(encoded.size)}
    return known | {name: getattr(encoded, name) for name in names}


class _Jobs(Sequence[EncodeJob]):
    """The jobs of a task. For videos on S3, getting a job waits for its download and starts those of the next ones."""

    def __init__(self, task: IngestTask) -> None:
        self._task = task
        self._stack = contextlib.ExitStack()
        self._threads: ThreadPoolExecutor | None = None
        self._downloads: dict[int, Future[Path]] = {}

    def __enter__(self) -> _Jobs:
        if any(file_io.is_remote(video.path) for video in self._task.videos):
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="digan-videos-")))
            self._threads = ThreadPoolExecutor(DOWNLOADS_AHEAD, thread_name_prefix="videos")
            self._stack.callback(self._threads.shutdown, cancel_futures=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._task.videos)

    def __getitem__(self, number: Any) -> Any:
        task, video = self._task, self._task.videos[number]
        if self._threads is not None:
            for ahead in range(number, min(number + DOWNLOADS_AHEAD, len(self))):
                if ahead not in self._downloads:
                    self._downloads[ahead] = self._threads.submit(self._download, ahead)
        return EncodeJob(
            path=self._downloads[number].result() if self._threads else Path(video.path),
            clips=task.clips,
            encoding=task.shards.encoding,
            jpeg_quality=task.shards.jpeg_quality,
            kind=video.kind,
            window_mode=video.window_mode,
            seconds=SECONDS + SECONDS_PER_MEGABYTE * max(video.bytes, 0) / 1e6,
        )

    def release(self, number: int) -> None:
        """Delete the downloaded video."""
        if number in self._downloads:
            path = self._downloads[number].result()
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _download(self, number: int) -> Path:
        video = self._task.videos[number]
        path = self._folder / f"{number}{Path(video.name).suffix}"
        if video.kind == "frames":
            for name in (name for name in file_io.list_names(video.path) if "/" not in name):
                file_io.download(file_io.join(video.path, name), path / name)
        else:
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed: rejected by name, as on a disk
                file_io.download(video.path, path)
        return path


_runner: IngestRunner | None = None


def run_ingest_task(task: IngestTask) -> IngestResult:
    """Run a task on Ray; its process keeps the decoding child process, which ends with it."""
    global _runner
    if _runner is None:
        _runner = IngestRunner().__enter__()
    return _runner(task)
