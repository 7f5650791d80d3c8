"""Features of a protocol's real clips, made once for each data set, protocol and detector.

``reference`` is compared with generated clips. ``real_vs_real`` holds as many other real clips, of the other split or, if
there is none, of the same one: the distance between the two shows how close to zero a metric can come.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
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
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Embedder, Executor
from pipelines.evaluation.feature_cache import feature_key
from pipelines.evaluation.protocols import EvaluationProtocol
from pipelines.report.progress_display import ProgressDisplay

SPLITS = {"train": "train", "test": "val"}  # the shards' split by the protocol's name for it


@dataclass(frozen=True, kw_only=True)
class ReferenceFeatures:
    """Features float64 [N, D] of real clips, ``reference`` and ``real_vs_real``, and the content of their JSON file."""

    reference: NDArray[np.float64]
    real_vs_real: NDArray[np.float64]
    index: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReferencePart:
    """``count`` clips of ``split``, from position ``start`` of the protocol's order on."""

    split: str
    start: int
    count: int


def parts_of(index: loader.ShardIndex, protocol: EvaluationProtocol, videos: int) -> dict[str, ReferencePart]:
    """The clips of ``reference`` and ``real_vs_real``, ``videos`` each; fewer if one clip a video is taken of fewer videos."""
    split = SPLITS[protocol.reference]
    other = "train" if split == "val" else "val"
    unit = "videos" if protocol.choice == "videos" else "clips"
    available = {name: sum(getattr(shard, unit) for shard in shards) for name, shards in index.splits.items()}
    if not available.get(split):
        raise UserError(
            f"evaluation.protocol={protocol.name}: takes its reals from what was held out, and nothing was; choose a"
            " protocol with train reals, or hold videos out (clips.validation_share)"
        )

    def size(name: str, parts: int = 1) -> int:
        return videos if unit == "clips" else min(videos, available[name] // parts)

    if available.get(other):
        real_vs_real = ReferencePart(split=other, start=0, count=size(other))
        return {"reference": ReferencePart(split=split, start=0, count=size(split)), "real_vs_real": real_vs_real}
    half = size(split, parts=2)
    real_vs_real = ReferencePart(split=split, start=half, count=half)
    return {"reference": ReferencePart(split=split, start=0, count=half), "real_vs_real": real_vs_real}


def all_detectors(config: EvaluationConfig) -> list[Detector]:
    """The main detector, then the extra ones."""
    main = detectors.load(config, config.measured_by().resize)
    return [main, *detectors.load_extra_detectors(config)]


def read(folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector) -> ReferenceFeatures | None:
    """The features in ``folder``; ``None`` if there are none, or those of other data, clips or another detector."""
    key = _reference_key(loader.read_index(shards_folder), config, detector)
    try:
        index = json.loads((folder / f"{detector.network}.json").read_text())
        with np.load(folder / f"{detector.network}.npz", allow_pickle=False) as file:
            if index["key"] != key or json.loads(str(file["key"])) != key:
                return None
            return ReferenceFeatures(reference=file["reference"], real_vs_real=file["real_vs_real"], index=index)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def require(folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector) -> ReferenceFeatures:
    """The features in ``folder``. Errors: ``UserError`` if the stage `reference` has not made them."""
    found = read(folder, shards_folder, config, detector)
    if found is None:
        raise UserError(
            f"{folder}: no features of this data, protocol, detector, count and seed; run python -m pipelines.reference"
        )
    return found


def build(
    folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector, executor: Executor
) -> ReferenceFeatures:
    """Embed the clips, or read them from the cache, and write the features to ``folder``: the JSON last, it validates them."""
    index, protocol = loader.read_index(shards_folder), config.measured_by()
    parts = _parts(index, config)
    for part in parts.values():
        if part.count < 2:
            raise UserError(
                f"{shards_folder}: {part.count} clips of split {part.split} for evaluation.protocol={protocol.name}; it"
                " needs 2 or more: add videos"
            )
    embedder = Embedder(config=config, executor=executor)
    progress = ProgressDisplay("reference", sum(part.count for part in parts.values()), unit="clips")

    def read_part(part: ReferencePart, blocks: list[range]) -> Iterator[Clip]:
        return map(protocol.cut, clips(shards_folder, protocol, part, config.seed, blocks))

    blocks = {
        name: embedder.clips(
            _clips_key(index, config, detector, part), part.count, partial(read_part, part), detector, progress
        )
        for name, part in parts.items()
    }
    progress.finish()
    key = _reference_key(index, config, detector)
    available = {split: sum(shard.clips for shard in shards) for split, shards in index.splits.items()}
    content = {
        "key": key,
        "protocol": asdict(protocol),
        "frames": protocol.frames_of(index.frames),
        "data_digest": index.digest,
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "seed": config.seed,
        **{name: _summary(part.split, blocks[name].names, available[part.split]) for name, part in parts.items()},
        "clips_available": available,
    }
    content["notes"] = _notes(content)
    made = ReferenceFeatures(**{name: block.features for name, block in blocks.items()}, index=content)
    memory = io.BytesIO()
    np.savez(memory, reference=made.reference, real_vs_real=made.real_vs_real, key=np.array(json.dumps(key)))
    (folder / f"{detector.network}.json").unlink(missing_ok=True)
    write_bytes(folder / f"{detector.network}.npz", memory.getvalue())
    write_bytes(folder / f"{detector.network}.json", (json.dumps(content, indent=1) + "\n").encode())
    return made


def _parts(index: loader.ShardIndex, config: EvaluationConfig) -> dict[str, ReferencePart]:
    return parts_of(index, config.measured_by(), max(config.measured_by().videos, config.curve().videos))


def _clips_key(
    index: loader.ShardIndex, config: EvaluationConfig, detector: Detector, part: ReferencePart
) -> dict[str, Any]:
    """All that the features of a part's clips depend on, except their number."""
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


def _reference_key(index: loader.ShardIndex, config: EvaluationConfig, detector: Detector) -> dict[str, Any]:
    parts = _parts(index, config)
    return {name: {**_clips_key(index, config, detector, part), "clips": part.count} for name, part in parts.items()}


def clips(
    folder: Path, protocol: EvaluationProtocol, part: ReferencePart, seed: int, blocks: Iterable[range]
) -> Iterator[Clip]:
    """The part's clips at these positions, in their order."""
    if protocol.choice == "videos":
        yield from _clips_of_videos(folder, part, seed, blocks)
        return
    joined: list[range] = []
    for block in blocks:  # successive blocks are read as one, so that each shard is opened once
        if joined and joined[-1].stop == block.start:
            joined[-1] = range(joined[-1].start, block.stop)
        else:
            joined.append(block)
    for block in joined:
        yield from loader.read_clips(
            folder, split=part.split, count=len(block), seed=seed, start=part.start + block.start
        )


def _clips_of_videos(folder: Path, part: ReferencePart, seed: int, blocks: Iterable[range]) -> Iterator[Clip]:
    """A random clip of each of the part's videos at these positions."""
    index = loader.read_index(folder)
    by_video = loader.windows_by_video(index, part.split)
    names = sorted(by_video)
    order = torch.randperm(len(names), generator=generator_for(seed, "videos")).tolist()
    windows = []
    for name in (names[order[part.start + position]] for block in blocks for position in block):
        number = torch.randint(len(by_video[name]), (1,), generator=generator_for(seed, "window", name))
        windows.append(by_video[name][int(number)])
    yield from loader.clips_at(index, windows)


def video_of(clip_name: str) -> str:
    """The name of a clip's video; clips are named VIDEO@FRAME."""
    return clip_name.rsplit("@", 1)[0]


def _summary(split: str, names: Sequence[str], available: int) -> dict[str, Any]:
    videos = {video_of(name) for name in names}
    counts = {"clips": len(names), "distinct_clips": len(set(names)), "videos": len(videos), "available": available}
    return {"split": split, **counts}


def _notes(content: dict[str, Any]) -> list[str]:
    notes = []
    for name in ("reference", "real_vs_real"):
        part = content[name]
        what = f"{name}: {part['clips']} clips from {part['videos']} videos of the {part['split']} split"
        if part["distinct_clips"] < part["clips"]:
            notes.append(f"{what}, only {part['distinct_clips']} of them distinct: too few clips for these counts")
        elif part["videos"] < part["clips"]:
            notes.append(f"{what}, so windows of one video count several times")
    split = content["reference"]["split"]
    if content["real_vs_real"]["split"] == split:
        notes.append(
            f"real vs. real: no other split; taken from the {split} split itself, so it is lower than that of unseen videos"
        )
    return notes
