"""Features of a protocol's real clips, made once for each data set, protocol and detector.

``reals`` are compared with generated clips. ``floor`` holds as many other real clips, of the other split or, where there is
none, of the same draw: the distance between both shows how close to zero a figure can come.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.atomic import write_bytes
from digan.errors import UserError
from digan.seeding import generator_for
from digan.types import Clip
from pipelines import detectors
from pipelines.dataset import loader
from pipelines.detectors import Detector
from pipelines.evaluation import embedding
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import EmbeddingTask, Executor, RealBlock, Span
from pipelines.evaluation.feature_cache import FeatureBlock, FeatureCache, feature_key
from pipelines.evaluation.protocols import EvaluationProtocol
from pipelines.report.progress_display import ProgressDisplay

SPLITS = {"train": "train", "test": "val"}  # a protocol's name for what the shards call train and val


@dataclass(frozen=True, kw_only=True)
class ReferenceFeatures:
    """Features float64 [N, D] of real clips for comparison (``reals``) and for the floor, and what index.json says."""

    reference: NDArray[np.float64]
    real_vs_real: NDArray[np.float64]
    index: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReferencePart:
    """Which clips: ``count`` of ``split``, from number ``start`` of the protocol's order on."""

    split: str
    start: int
    count: int


def parts_of(folder: Path, protocol: EvaluationProtocol, videos: int) -> tuple[ReferencePart, ReferencePart]:
    """The reals and the floor; fewer than ``videos`` where a protocol takes one clip a video and there are fewer."""
    index = loader.read_index(folder)
    split = SPLITS[protocol.reference]
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
        return ReferencePart(split=split, start=0, count=limit(split)), ReferencePart(
            split=other, start=0, count=limit(other)
        )
    count = min(videos, have[split] // 2) if unit == "videos" else videos
    return ReferencePart(split=split, start=0, count=count), ReferencePart(split=split, start=count, count=count)


def all_detectors(config: EvaluationConfig) -> list[Detector]:
    """The detector of ``config`` and its companions."""
    main = detectors.load(config.detectors(), config.measured_by().resize)
    return [main, *detectors.load_extra_detectors(config.detectors())]


def read(folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector) -> ReferenceFeatures | None:
    """The features in ``folder``; ``None`` where there are none, or those of other data, clips or detector."""
    key = _reference_key(shards_folder, config, detector)
    try:
        index = json.loads((folder / f"{detector.network}.json").read_text())
        with np.load(folder / f"{detector.network}.npz", allow_pickle=False) as file:
            if index["key"] != key or json.loads(str(file["key"])) != key:
                return None
            return ReferenceFeatures(reference=file["reference"], real_vs_real=file["real_vs_real"], index=index)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def require(folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector) -> ReferenceFeatures:
    """The features in ``folder``; a ``UserError`` where the stage has not made them."""
    found = read(folder, shards_folder, config, detector)
    if found is None:
        raise UserError(
            f"{folder}: no features of this data, protocol, detector, count and seed; run python -m pipelines.reference"
        )
    return found


def build(
    folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector, runner: Executor
) -> ReferenceFeatures:
    """The features, embedded or read from the cache, and written to ``folder``; the JSON comes last and makes them valid."""
    index = loader.read_index(shards_folder)
    protocol = config.measured_by()
    parts = _parts(shards_folder, config)
    key = _reference_key(shards_folder, config, detector)
    progress = ProgressDisplay("reference", sum(part.count for part in parts.values()), unit="clips")
    blocks: dict[str, FeatureBlock] = {}
    for name, part in parts.items():
        if part.count < 2:
            raise UserError(
                f"{shards_folder}: {part.count} clips of split {part.split} for evaluation.protocol={protocol.name}; it"
                " needs 2 or more: add videos"
            )

        def works(spans: list[Span], part: ReferencePart = part) -> Iterator[EmbeddingTask]:
            stream = clips(shards_folder, protocol, part, spans, config.seed)
            for number, _, count in spans:
                batch = [protocol.cut(clip) for clip in islice(stream, count)]
                stacked, names = torch.stack([clip.frames for clip in batch]), tuple(clip.name for clip in batch)
                make = RealBlock(videos=stacked, names=names, batch_size=config.batch_size)
                yield EmbeddingTask(number=number, make=make)

        blocks[name] = embedding.embed(
            _clips_key(index, config, detector, part),
            part.count,
            works,
            cache=FeatureCache(config.cache),
            runner=runner,
            detector=detector,
            progress=progress,
        )
    progress.finish()
    available = {split: sum(shard.clips for shard in listed) for split, listed in index.splits.items()}
    content = {
        "key": key,
        "protocol": protocol.as_dict(),
        "frames": protocol.frames_of(index.frames),
        "data_digest": index.digest,
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "seed": config.seed,
        **{name: _described(part.split, blocks[name].names, available[part.split]) for name, part in parts.items()},
        "clips_available": available,
    }
    content["notes"] = _notes(content)
    made = ReferenceFeatures(
        reference=blocks["reference"].features, real_vs_real=blocks["real_vs_real"].features, index=content
    )
    memory = io.BytesIO()
    np.savez(memory, reference=made.reference, real_vs_real=made.real_vs_real, key=np.array(json.dumps(key)))
    (folder / f"{detector.network}.json").unlink(missing_ok=True)
    write_bytes(folder / f"{detector.network}.npz", memory.getvalue())
    write_bytes(folder / f"{detector.network}.json", (json.dumps(made.index, indent=1) + "\n").encode())
    return made


def _parts(shards_folder: Path, config: EvaluationConfig) -> dict[str, ReferencePart]:
    reference, real_vs_real = parts_of(
        shards_folder, config.measured_by(), max(config.measured_by().videos, config.curve().videos)
    )
    return {"reference": reference, "real_vs_real": real_vs_real}


def _clips_key(
    index: loader.ShardIndex, config: EvaluationConfig, detector: Detector, part: ReferencePart
) -> dict[str, Any]:
    """All that the features of a part's clips depend on, whatever their number."""
    protocol = config.measured_by()
    return feature_key(
        detector,
        "real",
        data_digest=index.digest,
        split=part.split,
        start=part.start,
        choice=protocol.choice,
        frames=protocol.frames_of(index.frames),
        seed=config.seed,
    )


def _reference_key(shards_folder: Path, config: EvaluationConfig, detector: Detector) -> dict[str, Any]:
    index = loader.read_index(shards_folder)
    return {
        name: {**_clips_key(index, config, detector, part), "clips": part.count}
        for name, part in _parts(shards_folder, config).items()
    }


def clips(
    folder: Path, protocol: EvaluationProtocol, part: ReferencePart, spans: list[Span], seed: int
) -> Iterator[Clip]:
    """The clips of these chunks, in their order."""
    if protocol.choice == "videos":
        index = loader.read_index(folder)
        by_video = loader.windows_by_video(index, part.split)
        names = sorted(by_video)
        order = torch.randperm(len(names), generator=generator_for(seed, "videos")).tolist()
        windows = []
        for _, first, count in spans:
            for place in range(part.start + first, part.start + first + count):
                of_video = by_video[names[order[place]]]
                draw = generator_for(seed, "window", names[order[place]])
                windows.append(of_video[int(torch.randint(len(of_video), (1,), generator=draw))])
        yield from loader.clips_at(index, windows)
        return
    start = count = 0
    for _, first, more in spans:  # successive chunks are read in one go, so that each shard is opened once
        if count and first != start + count:
            yield from loader.read_clips(folder, split=part.split, count=count, seed=seed, start=part.start + start)
            count = 0
        start = start if count else first
        count += more
    yield from loader.read_clips(folder, split=part.split, count=count, seed=seed, start=part.start + start)


def video_of(clip_name: str) -> str:
    """The video that a clip comes from; clips are named VIDEO@FRAME."""
    return clip_name.rsplit("@", 1)[0]


def _described(split: str, names: Sequence[str], available: int) -> dict[str, Any]:
    videos = {video_of(name) for name in names}
    counts = {"clips": len(names), "distinct_clips": len(set(names)), "videos": len(videos), "available": available}
    return {"split": split, **counts}


def _notes(content: dict[str, Any]) -> list[str]:
    notes = []
    for name in ("reference", "real_vs_real"):
        part = content[name]
        where = f"{name}: {part['clips']} clips from {part['videos']} videos of the {part['split']} split"
        if part["distinct_clips"] < part["clips"]:
            notes.append(f"{where}, only {part['distinct_clips']} of them distinct: too few clips for these counts")
        elif part["videos"] < part["clips"]:
            notes.append(f"{where}, so windows of one video count several times")
    if content["real_vs_real"]["split"] == content["reference"]["split"]:
        split = content["reference"]["split"]
        notes.append(
            f"floor: no other split; taken from the {split} split itself, so it is lower than that of unseen videos"
        )
    return notes
