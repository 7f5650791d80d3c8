"""Stage `reference`: features of real clips, once for each data set and detector; every evaluation reads them here.

``reals`` are clips of the train split, as in the paper's protocol; ``floor`` is as many clips of held-out videos, so
that the distance between both says how close to zero a figure can come at these counts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from digan.types import Clip
from pipelines import detectors
from pipelines.detectors import Detector, EvaluationConfig
from pipelines.errors import run_stage
from pipelines.media import shards
from pipelines.media.write import write_bytes
from pipelines.report.progress import Progress

SHARDS = Path("outputs/shards")
REFERENCE = Path("outputs/reference")
PROTOCOL = "digan-1: uniform over all windows of the train split, none twice before all came once"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Features float64 [N, D] of real clips for comparison (``reals``) and for the floor, and what index.json says."""

    reals: NDArray[np.float64]
    floor: NDArray[np.float64]
    index: dict[str, Any]


def key_of(config: EvaluationConfig, detector: Detector, data_digest: str) -> dict[str, Any]:
    """All that the features depend on; equal keys, equal features."""
    return {
        "protocol": PROTOCOL,
        "data_digest": data_digest,
        "detector": detector.network,
        "detector_digest": detector.digest,
        "weights_sha256": detector.weights_sha256,
        "videos": config.videos,
        "seed": config.seed,
    }


def read(folder: Path, key: dict[str, Any]) -> Reference | None:
    """The features in ``folder``; ``None`` where there are none or they belong to another ``key``."""
    try:
        index = json.loads((folder / "index.json").read_text())
        if any(index.get(name) != value for name, value in key.items()):
            return None
        with np.load(folder / "features.npz", allow_pickle=False) as file:
            if str(file["detector_digest"]) != key["detector_digest"] or str(file["data_digest"]) != key["data_digest"]:
                return None
            return Reference(reals=file["reals"], floor=file["floor"], index=index)
    except (FileNotFoundError, json.JSONDecodeError, OSError, ValueError, KeyError):
        return None


def build(folder: Path, config: EvaluationConfig, detector: Detector, index_folder: Path) -> Reference:
    """Embed the real clips and write features.npz and index.json; the index comes last and makes them valid."""
    index = shards.read_index(index_folder)
    available = {split: sum(shard.clips for shard in listed) for split, listed in index.splits.items()}
    floor_split = "val" if available.get("val", 0) else "train"
    progress = Progress("reference", 2 * config.videos, unit="clips")
    if floor_split == "val":
        reals, real_names = _embed(detector, _draw(index_folder, "train", config.videos, config.seed), config, progress)
        floor, floor_names = _embed(detector, _draw(index_folder, "val", config.videos, config.seed), config, progress)
    else:  # no held-out videos: two parts of one draw, in which no clip comes twice
        draw = _draw(index_folder, "train", 2 * config.videos, config.seed)
        reals, real_names = _embed(detector, islice(draw, config.videos), config, progress)
        floor, floor_names = _embed(detector, draw, config, progress)
    progress.finish()
    content: dict[str, Any] = {
        **key_of(config, detector, index.digest),
        "width": int(reals.shape[1]),
        "reals": _described("train", real_names, available["train"]),
        "floor": _described(floor_split, floor_names, available[floor_split]),
        "clips_available": available,
    }
    content["notes"] = _notes(content)
    memory = io.BytesIO()
    digests = np.array(detector.digest), np.array(index.digest)
    np.savez(memory, reals=reals, floor=floor, detector_digest=digests[0], data_digest=digests[1])
    (folder / "index.json").unlink(missing_ok=True)
    write_bytes(folder / "features.npz", memory.getvalue())
    write_bytes(folder / "index.json", (json.dumps(content, indent=1) + "\n").encode())
    return Reference(reals=reals, floor=floor, index=content)


def batched(clips: Iterator[Clip], size: int) -> Iterator[list[Clip]]:
    """Successive lists of ``size`` clips; the last may be shorter."""
    while batch := list(islice(clips, size)):
        yield batch


def video_of(clip_name: str) -> str:
    """The video that a clip comes from; clips are named VIDEO@FRAME."""
    return clip_name.rsplit("@", 1)[0]


def _draw(folder: Path, split: str, count: int, seed: int) -> Iterator[Clip]:
    return iter(shards.read_clips(folder, split=split, count=count, seed=seed))


def _embed(
    detector: Detector, clips: Iterator[Clip], config: EvaluationConfig, progress: Progress
) -> tuple[NDArray[np.float64], list[str]]:
    parts, names = [], []
    for batch in batched(clips, config.batch_size):
        parts.append(detector.features(torch.stack([clip.frames for clip in batch])))
        names += [clip.name for clip in batch]
        progress.add(len(batch))
    return np.concatenate(parts), names


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
    if content["floor"]["split"] == "train":
        notes.append("floor: no held-out videos; taken from the train split, so it is lower than that of unseen videos")
    return notes


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml, embed the real clips unless their features are there already, and say which."""
    from pipelines import params

    config = params.load().evaluation
    detector = detectors.load(config)
    key = key_of(config, detector, shards.read_index(SHARDS).digest)
    found = read(REFERENCE, key)
    if found is None:
        found = build(REFERENCE, config, detector, SHARDS)
        what = "written"
    else:
        what = "there already (same data, detector, counts and seed)"
    print(
        f"reference: {len(found.reals)} + {len(found.floor)} clips, {detector.metric_name}, {REFERENCE}: {what}",
        flush=True,
    )
    for note in found.index["notes"]:
        print(f"reference: note: {note}", flush=True)


def require(config: EvaluationConfig, detector: Detector) -> Reference:
    """The features that ``config`` and ``detector`` ask for; a ``UserError`` where the stage has not made them."""
    found = read(REFERENCE, key_of(config, detector, shards.read_index(SHARDS).digest))
    if found is None:
        raise UserError(
            f"{REFERENCE}: no features of this data, detector, count and seed; run python -m pipelines.reference"
        )
    return found


if __name__ == "__main__":
    run_stage(main)
