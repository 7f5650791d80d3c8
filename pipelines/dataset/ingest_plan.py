"""Which videos go into which split and chunk, decided from names, sizes and headers before anything is decoded.

The plan, and so the set, depends on the input alone, not on the number of processes.
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

CHUNKS_AT_LEAST = 8  # of a split with enough videos, so that every core and every reader has one
MOST_VIDEOS = 500  # of a chunk: what is done again after a kill
PROBED = 9  # videos whose headers are read to estimate the size of shards
BYTES_PER_PIXEL = {"png": 1.6, "webp": 1.1, "jpeg": 0.6}  # of a stored picture, estimated
UNKNOWN_FRAMES = 100  # of a video on S3 or a damaged one


def by_split(videos: Sequence[RawVideo], clips: ClipsConfig) -> dict[str, list[RawVideo]]:
    """The videos of each split in an order that mixes folders and classes; a data set's own split precedes the hash.

    ``val`` is empty only where the source decides the split of every video.
    """
    by_name = {video.name: video for video in videos}
    found: dict[str, list[RawVideo]] = {TRAIN: [], VALIDATION: []}
    for name in shuffled(list(by_name)):
        found[by_name[name].split or split_of(name, clips.validation_share)].append(by_name[name])
    decided = all(video.split for video in videos)
    if decided and not found[TRAIN]:
        raise UserError(f"none of the {len(videos)} videos is in the train split; check the list that splits them")
    for split, chosen in found.items():
        if not chosen and not decided:
            raise UserError(
                f"clips.validation_share={clips.validation_share}: none of the {len(videos)} videos falls into the"
                f" {split} split; use more videos or another share, such as 0.5"
            )
    return found


def planned(videos: Sequence[RawVideo], clips: ClipsConfig, shards: ShardsConfig) -> list[tuple[RawVideo, ...]]:
    """The chunks of a split: successive videos that fill about one shard, and at most an eighth of all videos."""
    known = [with_tag(video) for video in videos]
    per_byte = _stored_bytes_per_byte(known, clips, shards)
    most = min(MOST_VIDEOS, max(1, len(known) // CHUNKS_AT_LEAST))
    found: list[list[RawVideo]] = []
    filled = 0.0
    for video in known:
        stored = max(video.bytes, 0) * per_byte
        if not found or len(found[-1]) == most or filled + stored > shards.megabytes * 1e6:
            found.append([])
            filled = 0.0
        found[-1].append(video)
        filled += stored
    return [tuple(chunk) for chunk in found]


def with_tag(video: RawVideo) -> RawVideo:
    """The video with size and content tag, of all its frames together where it is a folder; size -1 where it is gone."""
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
    """Bytes of shards per byte of these videos, estimated from the headers of some of them."""
    picture = BYTES_PER_PIXEL[shards.encoding] * clips.resolution**2
    here = [video for video in videos if video.bytes > 0]
    some = here[:: max(1, len(here) // PROBED)][:PROBED]
    counted = dict(zip(some, _counted(some), strict=True)) if some else {}
    total = sum(video.bytes for video in some)
    pictures = sum(counted.values()) / clips.frame_stride
    return picture * pictures / total if total else 1.0


def _counted(videos: Sequence[RawVideo]) -> list[int]:
    """The number of frames of these videos, read in a child process, which a damaged video may crash."""
    local = [video for video in videos if video.kind == "video" and not file_io.is_remote(video.path)]
    counts: dict[RawVideo, int] = {}
    if local:
        with isolation.IsolatedPool("pipelines.video.decoder:count_frames", processes=1) as pool:
            found = pool.map([str(video.path) for video in local], lambda _: 60.0)
            counts = {v: n for v, n in zip(local, found, strict=True) if isinstance(n, int) and n > 0}
    return [counts.get(video) or _pictures(video) for video in videos]


def _pictures(video: RawVideo) -> int:
    first = video.content_tag.split()[0]
    return int(first) if video.kind == "frames" and first.isdigit() else UNKNOWN_FRAMES
