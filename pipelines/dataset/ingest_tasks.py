"""Tasks of an ingest: each turns successive videos of a split (a chunk) into shards, on any core of any machine.

A task contains everything it needs, so it gives the same bytes wherever it runs. Decoding happens in a child process,
which may crash, hang or leak (isolation.py). Videos on S3 are fetched to a temporary folder, a few ahead.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digan.data.clips import ClipsConfig
from pipelines.dataset.ingest_records import IngestResult, record_address, write_record
from pipelines.dataset.shard_writer import IngestWriter, ShardsConfig
from pipelines.storage import file_io
from pipelines.video import image_codec, isolation, transcode
from pipelines.video.raw_video import RawVideo
from pipelines.video.transcode import ChannelStatistics, EncodedVideo, EncodeJob

FETCHED_AHEAD = 4  # videos that are fetched from S3 while earlier ones are decoded
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0  # the time limit for a video


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """These videos, in this order, become shards below ``address``; ``in_use`` as in ``ChunkWriter``.

    ``classes``: what the labels count, empty where there are to be none.
    """

    split: str
    number: int
    videos: tuple[RawVideo, ...]
    classes: tuple[str, ...]
    clips: ClipsConfig
    shards: ShardsConfig
    software: dict[str, str]
    address: str
    in_use: dict[str, str]

    def label(self, video: RawVideo) -> int | None:
        """The number of the video's class."""
        return self.classes.index(video.class_name or "") if self.classes else None

    @property
    def record(self) -> str:
        """Where the record is that the task is finished."""
        return record_address(self.address, self.split, self.number)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the shards' bytes depend on; videos count by name, size and stamp."""
        known = [
            (v.name, v.class_name, self.label(v), v.kind, v.window_mode, v.bytes, v.content_tag) for v in self.videos
        ]
        config = {**asdict(self.shards), "address": ""}
        text = json.dumps([known, asdict(self.clips), config, self.software], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class IngestRunner:
    """Runs tasks one after the other, with one child process for decoding.

    ``with ChunkMaker() as run: run(task)``
    """

    def __init__(self) -> None:
        self._pool = isolation.IsolatedPool(transcode.FUNCTION, processes=1)

    def __enter__(self) -> IngestRunner:
        self._pool.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    def __call__(self, task: IngestTask) -> IngestResult:
        """Write the shards, then the record that the chunk is finished."""
        clips, shards = task.clips, task.shards
        file_io.delete(task.record)  # one of other input would claim the shards that are overwritten now
        writer = IngestWriter(
            address=task.address,
            split=task.split,
            chunk=task.number,
            suffix=image_codec.SUFFIX[shards.encoding],
            limit=int(shards.megabytes * 1e6),
            in_use=task.in_use,
        )
        records: list[dict[str, Any]] = []
        levels = ChannelStatistics()
        with _jobs(task) as jobs, closing(self._pool.map(jobs, _seconds)) as results:
            for number, (video, result) in enumerate(zip(task.videos, results, strict=True)):
                done = transcode.rejection(result.reason) if isinstance(result, isolation.ItemLost) else result
                rate = None if done.fps is None else done.fps / clips.frame_stride
                meta = {"name": video.name, "category": video.class_name, "label": task.label(video), "fps": rate}
                for part, segment in enumerate(done.segments):
                    writer.add(meta, segment, number=part, clip_frames=clips.frames)
                records.append(_record(video, done))
                levels += done.levels
                jobs.release(number)
        writer.close_shard()
        chunk = IngestResult(shards=tuple(writer.shards), records=tuple(records), levels=levels)
        write_record(task.record, task.fingerprint, chunk)
        return chunk


def _record(video: RawVideo, done: EncodedVideo) -> dict[str, Any]:
    """What the report says of a video."""
    return {
        "name": video.name,
        "category": video.class_name,
        "bytes": video.bytes,
        "rejected": done.rejected,
        "decoder": done.decoder,
        "note": done.note,
        "frames": done.frames,
        "fps": done.fps,
        "constant_frame_rate": done.constant_frame_rate,
        "size": list(done.size),
        "codec": done.codec,
    }


class _Jobs(Sequence[EncodeJob]):
    """The jobs of a chunk; asking for one waits until its video is here, and starts to fetch the next ones."""

    def __init__(self, task: IngestTask, folder: Path | None) -> None:
        self._task, self._folder = task, folder
        self._threads = ThreadPoolExecutor(FETCHED_AHEAD, thread_name_prefix="videos") if folder else None
        self._fetched: dict[int, Future[Path]] = {}

    def __len__(self) -> int:
        return len(self._task.videos)

    def __getitem__(self, number: Any) -> Any:
        video = self._task.videos[number]
        job = EncodeJob(
            path=Path(video.path),
            clips=self._task.clips,
            encoding=self._task.shards.encoding,
            jpeg_quality=self._task.shards.jpeg_quality,
            kind=video.kind,
            window_mode=video.window_mode,
            seconds=SECONDS + SECONDS_PER_MEGABYTE * max(video.bytes, 0) / 1e6,
        )
        if self._threads is None:
            return job
        for ahead in range(number, min(number + FETCHED_AHEAD, len(self))):
            if ahead not in self._fetched:
                self._fetched[ahead] = self._threads.submit(self._fetch, ahead)
        return replace(job, path=self._fetched[number].result())

    def release(self, number: int) -> None:
        """The video is not needed any more."""
        if number in self._fetched:
            path = self._fetched[number].result()
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def stop(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _fetch(self, number: int) -> Path:
        assert self._folder is not None
        video = self._task.videos[number]
        path = self._folder / f"{number}{Path(video.name).suffix}"
        if video.kind == "frames":
            for name in file_io.list_names(video.path):
                if "/" not in name:
                    file_io.download(file_io.join(video.path, name), path / name)
        else:
            try:
                file_io.download(video.path, path)
            except FileNotFoundError:
                return path  # it has gone since it was listed: refused by name, as on a disk
        return path


@contextmanager
def _jobs(task: IngestTask) -> Iterator[_Jobs]:
    if not any(file_io.is_remote(video.path) for video in task.videos):
        yield _Jobs(task, None)
        return
    with tempfile.TemporaryDirectory(prefix="digan-videos-") as folder:
        jobs = _Jobs(task, Path(folder))
        try:
            yield jobs
        finally:
            jobs.stop()


def _seconds(job: EncodeJob) -> float:
    return job.seconds


_maker: IngestRunner | None = None


def run_ingest_task(task: IngestTask) -> IngestResult:
    """What a task on Ray does; its process keeps the one that decodes, which ends with it."""
    global _maker
    if _maker is None:
        _maker = IngestRunner().__enter__()
    return _maker(task)
