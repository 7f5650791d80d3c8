"""Which videos form which split and task, decided from names, sizes and headers before anything is decoded.

The plan, and with it the set, depends on the input alone, not on the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from digan.data.clips import ClipsConfig
from digan.data.splits import TRAIN, VALIDATION, shuffled, split_of
from digan.errors import UserError
from pipelines.dataset.shard_writer import ShardsConfig
from pipelines.storage import file_io
from pipelines.video import frame_folder, isolation
from pipelines.video.raw_video import RawVideo

TASKS_AT_LEAST = 8  # of a split with enough videos, so that every core and every reader has one
VIDEOS_PER_TASK = 500  # at most: what is repeated after a kill
PROBED_VIDEOS = 9  # headers read to estimate the size of shards
BYTES_PER_PIXEL = {"png": 1.6, "webp": 1.1, "jpeg": 0.6}  # of a stored picture, estimated
UNKNOWN_FRAMES = 100  # assumed for a video on S3 or a damaged one


def videos_by_split(videos: Sequence[RawVideo], clips: ClipsConfig) -> dict[str, list[RawVideo]]:
    """The videos of each split in an order that mixes folders and classes; a data set's own split precedes the hash.

    ``UserError`` if a split is empty; ``val`` may be where the source decides the split of every video.
    """
    by_name = {video.name: video for video in videos}
    found: dict[str, list[RawVideo]] = {TRAIN: [], VALIDATION: []}
    for name in shuffled(list(by_name)):
        found[split_of_video(by_name[name], clips)].append(by_name[name])
    none = f"none of the {len(videos)} videos"
    if all(video.split for video in videos):
        if not found[TRAIN]:
            raise UserError(f"{none} is in the train split; check the list that splits them")
        return found
    for split in (split for split, chosen in found.items() if not chosen):
        what = f"clips.validation_share={clips.validation_share}: {none} falls into the {split} split"
        raise UserError(f"{what}; use more videos or another share, such as 0.5")
    return found


def split_of_video(video: RawVideo, clips: ClipsConfig) -> str:
    """The split that the data set gives the video, else that of the hash of its name."""
    return video.split or split_of(video.name, clips.validation_share)


def videos_by_task(videos: Sequence[RawVideo], clips: ClipsConfig, shards: ShardsConfig) -> list[tuple[RawVideo, ...]]:
    """The tasks of a split: successive videos that fill about one shard, and at most an eighth of all videos."""
    tagged = [with_content_tag(video) for video in videos]
    stored_share = _stored_bytes_per_byte(tagged, clips, shards)
    most = min(VIDEOS_PER_TASK, max(1, len(tagged) // TASKS_AT_LEAST))
    found: list[list[RawVideo]] = []
    task_bytes = 0.0
    for video in tagged:
        stored = max(video.bytes, 0) * stored_share
        if not found or len(found[-1]) == most or task_bytes + stored > shards.megabytes * 1e6:
            found.append([])
            task_bytes = 0.0
        found[-1].append(video)
        task_bytes += stored
    return [tuple(task) for task in found]


def with_content_tag(video: RawVideo) -> RawVideo:
    """The video with its size and content tag, of all frames together if it is a folder; size -1 if it is missing."""
    if video.content_tag:
        return video
    try:
        if video.kind == "frames":
            count, size, newest = frame_folder.bytes_and_time(Path(video.path))
            return replace(video, bytes=size, content_tag=f"{count} {newest}")
        stat = Path(video.path).stat()
        return replace(video, bytes=stat.st_size, content_tag=str(stat.st_mtime_ns))
    except OSError:
        return replace(video, bytes=-1, content_tag="gone")


def _stored_bytes_per_byte(videos: Sequence[RawVideo], clips: ClipsConfig, shards: ShardsConfig) -> float:
    """Bytes of shards per byte of raw video, estimated from some headers."""
    present = [video for video in videos if video.bytes > 0]
    probed = present[:: max(1, len(present) // PROBED_VIDEOS)][:PROBED_VIDEOS]
    if not probed:
        return 1.0
    pictures = _count_frames(probed) / clips.frame_stride
    return BYTES_PER_PIXEL[shards.encoding] * clips.resolution**2 * pictures / sum(video.bytes for video in probed)


def _count_frames(videos: Sequence[RawVideo]) -> int:
    """The number of frames of the videos, read in a child process, which a damaged video may crash."""
    counts = [int(n) for video in videos if video.kind == "frames" and (n := video.content_tag.split()[0]).isdigit()]
    local = [str(video.path) for video in videos if video.kind == "video" and not file_io.is_remote(video.path)]
    if local:
        with isolation.IsolatedPool("pipelines.video.decoder:count_frames", processes=1) as pool:
            counts += [n for n in pool.map(local, lambda _: 60.0) if isinstance(n, int) and n > 0]
    return sum(counts) + UNKNOWN_FRAMES * (len(videos) - len(counts))
