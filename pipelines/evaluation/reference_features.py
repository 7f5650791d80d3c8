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
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.atomic import write_bytes, write_json
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


@dataclass(frozen=True, kw_only=True)
class ReferenceFeatures:
    """Features float64 [N, D] of real clips, ``reference`` and ``real_vs_real``, and the content of their JSON file."""

    reference: NDArray[np.float64]
    real_vs_real: NDArray[np.float64]
    index: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferencePart:
    """``count`` clips of ``split``, from position ``start`` of the protocol's order on."""

    split: str
    start: int
    count: int


def parts_of(index: loader.ShardIndex, config: EvaluationConfig) -> dict[str, ReferencePart]:
    """The clips of ``reference`` and ``real_vs_real``; fewer than the counts if one clip a video is taken of fewer videos."""
    protocol = config.measured_by()
    videos = max(protocol.videos, config.curve().videos)
    split, other = ("train", "val") if protocol.reference == "train" else ("val", "train")
    unit = "videos" if protocol.choice == "videos" else "clips"
    available = {name: sum(getattr(shard, unit) for shard in shards) for name, shards in index.splits.items()}
    if not available.get(split):
        problem = "takes its reals from what was held out, and nothing was"
        remedy = "choose a protocol with train reals, or hold videos out (clips.validation_share)"
        raise UserError(f"evaluation.protocol={protocol.name}: {problem}; {remedy}")

    def size(name: str, share: int = 1) -> int:
        return videos if unit == "clips" else min(videos, available[name] // share)

    if available.get(other):
        parts = ReferencePart(split, 0, size(split)), ReferencePart(other, 0, size(other))
    else:
        half = size(split, share=2)
        parts = ReferencePart(split, 0, half), ReferencePart(split, half, half)
    return dict(zip(("reference", "real_vs_real"), parts, strict=True))


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
        missing = "no features of this data, protocol, detector, count and seed"
        raise UserError(f"{folder}: {missing}; run python -m pipelines.reference")
    return found


def build(
    folder: Path, shards_folder: Path, config: EvaluationConfig, detector: Detector, executor: Executor
) -> ReferenceFeatures:
    """Embed the clips, or read them from the cache, and write the features to ``folder``: the JSON last, it validates them."""
    index, protocol = loader.read_index(shards_folder), config.measured_by()
    parts = parts_of(index, config)
    for part in parts.values():
        if part.count < 2:
            found = f"{part.count} clips of split {part.split} for evaluation.protocol={protocol.name}"
            raise UserError(f"{shards_folder}: {found}; it needs 2 or more: add videos")
    progress = ProgressDisplay("reference", sum(part.count for part in parts.values()), unit="clips")
    embedder, blocks = Embedder(config=config, executor=executor, progress=progress), {}

    def read_part(part: ReferencePart, missing: list[range]) -> Iterator[Clip]:
        return map(protocol.cut, clips(shards_folder, protocol, part, config.seed, missing))

    for name, part in parts.items():
        key = _clips_key(index, config, detector, part)
        blocks[name] = embedder.clips(key, part.count, partial(read_part, part), detector)
    progress.finish()
    key = _reference_key(index, config, detector)
    available = {split: sum(shard.clips for shard in shards) for split, shards in index.splits.items()}
    content = {
        "key": key,
        "protocol": asdict(protocol),
        "frames": protocol.frames_of(index.frames),
        **detector.described(index.digest),
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
    write_json(folder / f"{detector.network}.json", content, indent=1)
    return made


def _clips_key(
    index: loader.ShardIndex, config: EvaluationConfig, detector: Detector, part: ReferencePart
) -> dict[str, Any]:
    """All that the features of a part's clips depend on, except their number."""
    protocol = config.measured_by()
    chosen = {"data_digest": index.digest, "split": part.split, "start": part.start, "choice": protocol.choice}
    return feature_key(detector, "real", **chosen, frames=protocol.frames_of(index.frames), seed=config.seed)


def _reference_key(index: loader.ShardIndex, config: EvaluationConfig, detector: Detector) -> dict[str, Any]:
    parts = parts_of(index, config)
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
        start = part.start + block.start
        yield from loader.read_clips(folder, split=part.split, count=len(block), seed=seed, start=start)


def _clips_of_videos(folder: Path, part: ReferencePart, seed: int, blocks: Iterable[range]) -> Iterator[Clip]:
    """A random clip of each of the part's videos at these positions."""
    index = loader.read_index(folder)
    by_video = loader.windows_by_video(index, part.split)
    names = sorted(by_video)
    order = torch.randperm(len(names), generator=generator_for(seed, "videos")).tolist()
    windows = []
    for position in chain.from_iterable(blocks):
        name = names[order[part.start + position]]
        number = torch.randint(len(by_video[name]), (1,), generator=generator_for(seed, "window", name))
        windows.append(by_video[name][int(number)])
    yield from loader.clips_at(index, windows)


def video_of(clip_name: str) -> str:
    """The name of a clip's video; clips are named VIDEO@FRAME."""
    return clip_name.rsplit("@", 1)[0]


def _summary(split: str, names: Sequence[str], available: int) -> dict[str, Any]:
    distinct, videos = len(set(names)), len(set(map(video_of, names)))
    counts = {"clips": len(names), "distinct_clips": distinct, "videos": videos, "available": available}
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
        source = f"no other split; taken from the {split} split itself, so it is lower than that of unseen videos"
        notes.append(f"real vs. real: {source}")
    return notes
