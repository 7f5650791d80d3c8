"""Which videos go into which split and chunk: decided from names, sizes and headers before anything is decoded.

The plan depends on the input alone, never on how many processes carry it out, and so does the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from digan.data.clips import ClipsConfig
from digan.data.splits import TRAIN, VALIDATION, shuffled, split_of
from digan.errors import UserError
from pipelines.media import frames, isolation, storage
from pipelines.media.chunks import ChunkVideo
from pipelines.media.raw import RawVideo
from pipelines.media.shard_writer import ShardsConfig

CHUNKS_AT_LEAST = 8  # a split of enough videos has this many, so that every core and every reader finds its own
MOST_VIDEOS = 500  # of a chunk: what a killed start may have to do again
PROBED = 9  # videos whose headers are read to foresee how large the shards become
BYTES_PER_PIXEL = {"png": 1.6, "webp": 1.1, "jpeg": 0.6}  # of a stored picture, about, to foresee sizes
UNKNOWN_FRAMES = 100  # of a video that cannot be asked: on S3, or broken


def by_split(videos: Sequence[RawVideo], clips: ClipsConfig) -> dict[str, list[RawVideo]]:
    """The videos of each split in an order that mixes folders and classes; a data set's own split goes before the hash.

    ``val`` is empty only where the source has decided so for every video.
    """
    by_name = {video.name: video for video in videos}
    found: dict[str, list[RawVideo]] = {TRAIN: [], VALIDATION: []}
    for name in shuffled(list(by_name)):
        found[by_name[name].split or split_of(name, clips.validation_share)].append(by_name[name])
    decided = all(video.split for video in videos)
    if decided and not found[TRAIN]:
        raise UserError(f"none of the {len(videos)} videos is in the train split; look at the list that splits them")
    for split, chosen in found.items():
        if not chosen and not decided:
            raise UserError(
                f"clips.validation_share={clips.validation_share}: none of the {len(videos)} videos falls into the"
                f" {split} split; use more videos or another share, such as 0.5"
            )
    return found


def planned(
    videos: Sequence[RawVideo], classes: tuple[str, ...], clips: ClipsConfig, shards: ShardsConfig
) -> list[tuple[ChunkVideo, ...]]:
    """The chunks of a split: successive videos that will fill about one shard, and never more than an eighth of all."""
    known = [_known(video, classes) for video in videos]
    per_byte = _stored_bytes_per_byte(known, clips, shards)
    most = min(MOST_VIDEOS, max(1, len(known) // CHUNKS_AT_LEAST))
    found: list[list[ChunkVideo]] = []
    filled = 0.0
    for video in known:
        stored = max(video.bytes, 0) * per_byte
        if not found or len(found[-1]) == most or filled + stored > shards.megabytes * 1e6:
            found.append([])
            filled = 0.0
        found[-1].append(video)
        filled += stored
    return [tuple(chunk) for chunk in found]


def sizes_of(videos: Sequence[RawVideo]) -> list[int]:
    """The bytes of each video, of all its frames together where it is a folder; -1 where it is gone."""
    return [_bytes_and_stamp(video)[0] for video in videos]


def _bytes_and_stamp(video: RawVideo) -> tuple[int, str]:
    if video.stamp:
        return video.bytes, video.stamp
    try:
        if video.kind == "frames":
            count, size, newest = frames.bytes_and_time(Path(video.path))
            return size, f"{count} {newest}"
        stat = Path(video.path).stat()
        return stat.st_size, str(stat.st_mtime_ns)
    except OSError:
        return -1, "gone"


def _known(video: RawVideo, classes: tuple[str, ...]) -> ChunkVideo:
    size, stamp = _bytes_and_stamp(video)
    label = classes.index(video.category or "") if classes else None
    return ChunkVideo(
        name=video.name,
        address=str(video.path),
        category=video.category,
        label=label,
        kind=video.kind,
        cut=video.cut,
        bytes=size,
        stamp=stamp,
    )


def _stored_bytes_per_byte(videos: Sequence[ChunkVideo], clips: ClipsConfig, shards: ShardsConfig) -> float:
    """How many bytes of shards a byte of these videos becomes, from the headers of some of them."""
    picture = BYTES_PER_PIXEL[shards.encoding] * clips.resolution**2
    here = [video for video in videos if video.bytes > 0]
    some = here[:: max(1, len(here) // PROBED)][:PROBED]
    counted = dict(zip(some, _counted(some), strict=True)) if some else {}
    total = sum(video.bytes for video in some)
    pictures = sum(counted.values()) / clips.frame_stride
    return picture * pictures / total if total else 1.0


def _counted(videos: Sequence[ChunkVideo]) -> list[int]:
    """How many frames these videos have, read in a process that a broken one may take down."""
    local = [video for video in videos if video.kind == "video" and not storage.is_remote(video.address)]
    counts: dict[ChunkVideo, int] = {}
    if local:
        with isolation.IsolatedPool("pipelines.media.video:count_frames", processes=1) as pool:
            found = pool.map([video.address for video in local], lambda _: 60.0)
            counts = {v: n for v, n in zip(local, found, strict=True) if isinstance(n, int) and n > 0}
    return [counts.get(video) or _pictures(video) for video in videos]


def _pictures(video: ChunkVideo) -> int:
    first = video.stamp.split()[0]
    return int(first) if video.kind == "frames" and first.isdigit() else UNKNOWN_FRAMES
