"""Real clips of a protocol, and their features: once for each data, protocol and detector.

``reals`` are what generated clips are compared with; ``floor`` is as many other real clips (of the other split, or of the
same draw where there is none), so that the distance between both says how close to zero a figure can come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from digan.seeding import generator_for
from digan.types import Clip
from pipelines.detectors import Detector
from pipelines.evaluation import embedding
from pipelines.evaluation.cache import Cache, Chunk
from pipelines.evaluation.embedding import RealChunk, Runner, Span, Work
from pipelines.evaluation.protocols import Protocol
from pipelines.media import shards
from pipelines.report.progress_display import ProgressDisplay

SPLITS = {"train": "train", "test": "val"}  # a protocol's name for what the shards call train and val


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Features float64 [N, D] of real clips for comparison (``reals``) and for the floor, and what index.json says."""

    reals: NDArray[np.float64]
    floor: NDArray[np.float64]
    index: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which clips: ``count`` of ``split``, from number ``start`` of the protocol's order on."""

    split: str
    start: int
    count: int


def parts_of(folder: Path, protocol: Protocol, videos: int) -> tuple[Part, Part]:
    """The reals and the floor; fewer than ``videos`` where a protocol takes one clip a video and there are fewer."""
    index = shards.read_index(folder)
    split = SPLITS[protocol.reals]
    other = "train" if split == "val" else "val"
    unit = "videos" if protocol.choice == "videos" else "clips"
    have = {name: sum(getattr(shard, unit) for shard in listed) for name, listed in index.splits.items()}
    if not have.get(split):
        raise UserError(
            f"evaluation.protocol={protocol.name}: takes its reals from what was held out, and nothing was; choose a"
            " protocol with train reals, or hold videos out (clips.validation_share)"
        )
    limit = (lambda name: min(videos, have[name])) if unit == "videos" else (lambda name: videos)
    if have.get(other):
        return Part(split=split, start=0, count=limit(split)), Part(split=other, start=0, count=limit(other))
    count = min(videos, have[split] // 2) if unit == "videos" else videos
    return Part(split=split, start=0, count=count), Part(split=split, start=count, count=count)


def key_of(
    protocol: Protocol, detector: Detector, data_digest: str, part: Part, *, seed: int, frames: int
) -> dict[str, Any]:
    """All that a clip's features depend on, and which clip is which."""
    return {
        "kind": "real",
        "data_digest": data_digest,
        "split": part.split,
        "start": part.start,
        "choice": protocol.choice,
        "frames": frames,
        "seed": seed,
        "detector": detector.network,
        "detector_digest": detector.digest,
    }


def reference(
    folder: Path,
    protocol: Protocol,
    detector: Detector,
    *,
    videos: int,
    seed: int,
    batch_size: int,
    cache: Cache,
    runner: Runner,
) -> Reference:
    """Reals and floor of a protocol, out of the cache as far as they are there."""
    index = shards.read_index(folder)
    frames = protocol.frames_of(index.frames)
    found: list[list[Chunk]] = []
    chosen = parts_of(folder, protocol, videos)
    progress = ProgressDisplay("reference", sum(part.count for part in chosen), unit="clips")
    for part in chosen:
        if part.count < 2:
            raise UserError(
                f"{folder}: {part.count} clips of split {part.split} for evaluation.protocol={protocol.name}; it needs 2 or"
                " more: add videos"
            )
        key = key_of(protocol, detector, index.digest, part, seed=seed, frames=frames)

        def works(spans: list[Span], part: Part = part) -> Iterator[Work]:
            stream = clips(folder, protocol, part, spans, seed)
            for number, _, count in spans:
                batch = [protocol.cut(clip) for clip in islice(stream, count)]
                stacked, names = torch.stack([clip.frames for clip in batch]), tuple(clip.name for clip in batch)
                yield Work(
                    number=number,
                    videos=count,
                    make=RealChunk(videos=stacked, names=names, batch_size=batch_size),
                )

        found.append(
            embedding.embed(key, part.count, works, cache=cache, runner=runner, detector=detector, progress=progress)
        )
    progress.finish()
    available = {split: sum(shard.clips for shard in listed) for split, listed in index.splits.items()}
    described = [
        _described(part.split, [name for chunk in chunks for name in chunk.names], available[part.split])
        for part, chunks in zip(chosen, found, strict=True)
    ]
    content = {
        "protocol": protocol.as_dict(),
        "frames": frames,
        "data_digest": index.digest,
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "seed": seed,
        "reals": described[0],
        "floor": described[1],
        "clips_available": available,
    }
    return Reference(
        reals=embedding.features(found[0]),
        floor=embedding.features(found[1]),
        index={**content, "notes": _notes(content)},
    )


def clips(folder: Path, protocol: Protocol, part: Part, spans: list[Span], seed: int) -> Iterator[Clip]:
    """The clips of these chunks, in their order."""
    if protocol.choice == "videos":
        index = shards.read_index(folder)
        by_video = shards.windows_by_video(index, part.split)
        names = sorted(by_video)
        order = torch.randperm(len(names), generator=generator_for(seed, "videos")).tolist()
        windows = []
        for _, first, count in spans:
            for place in range(part.start + first, part.start + first + count):
                of_video = by_video[names[order[place]]]
                draw = generator_for(seed, "window", names[order[place]])
                windows.append(of_video[int(torch.randint(len(of_video), (1,), generator=draw))])
        yield from shards.clips_at(index, windows)
        return
    start = count = 0
    for _, first, more in spans:  # successive chunks are read in one go, so that each shard is opened once
        if count and first != start + count:
            yield from shards.read_clips(folder, split=part.split, count=count, seed=seed, start=part.start + start)
            count = 0
        start = start if count else first
        count += more
    yield from shards.read_clips(folder, split=part.split, count=count, seed=seed, start=part.start + start)


def video_of(clip_name: str) -> str:
    """The video that a clip comes from; clips are named VIDEO@FRAME."""
    return clip_name.rsplit("@", 1)[0]


def _described(split: str, names: Sequence[str], available: int) -> dict[str, Any]:
    videos = {video_of(name) for name in names}
    counts = {"clips": len(names), "distinct_clips": len(set(names)), "videos": len(videos), "available": available}
    return {"split": split, **counts}


def _notes(content: dict[str, Any]) -> list[str]:
    notes = []
    for name in ("reals", "floor"):
        part = content[name]
        where = f"{name}: {part['clips']} clips from {part['videos']} videos of the {part['split']} split"
        if part["distinct_clips"] < part["clips"]:
            notes.append(f"{where}, only {part['distinct_clips']} of them distinct: too few clips for these counts")
        elif part["videos"] < part["clips"]:
            notes.append(f"{where}, so windows of one video count several times")
    if content["floor"]["split"] == content["reals"]["split"]:
        split = content["reals"]["split"]
        notes.append(
            f"floor: no other split; taken from the {split} split itself, so it is lower than that of unseen videos"
        )
    return notes
