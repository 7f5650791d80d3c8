"""Stage `reference`: features of real clips, once for each data set, protocol and detector; every evaluation reads them
here. They come out of the cache (``evaluation.cache``) where any evaluation has made them before.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from digan.atomic import write_bytes
from digan.errors import UserError
from pipelines import detectors
from pipelines.detectors import Detector
from pipelines.errors import run_stage
from pipelines.evaluation import embedding, reals
from pipelines.evaluation.cache import Cache
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.reals import Reference
from pipelines.media import shards

SHARDS = Path("outputs/shards")
REFERENCE = Path("outputs/reference")


def all_detectors(config: EvaluationConfig) -> list[Detector]:
    """The detector and its companions."""
    return [detectors.load(config, config.measured_by().resize), *detectors.load_companions(config)]


def key_of(config: EvaluationConfig, detector: Detector, data_digest: str) -> dict[str, Any]:
    """All that the stage's features depend on; equal keys, equal features."""
    protocol = config.measured_by()
    return {
        "choice": [protocol.choice, protocol.reals, protocol.frames],
        "data_digest": data_digest,
        "detector_digest": detector.digest,
        "videos": max(protocol.videos, config.curve().videos),
        "seed": config.seed,
    }


def read(folder: Path, detector: Detector, key: dict[str, Any]) -> Reference | None:
    """The features in ``folder``; ``None`` where there are none or they belong to another ``key``."""
    try:
        index = json.loads((folder / f"{detector.network}.json").read_text())
        if index["key"] != json.loads(json.dumps(key)):
            return None
        with np.load(folder / f"{detector.network}.npz", allow_pickle=False) as file:
            if str(file["key"]) != json.dumps(key):
                return None
            return Reference(reals=file["reals"], floor=file["floor"], index=index)
    except (FileNotFoundError, json.JSONDecodeError, OSError, ValueError, KeyError, EOFError):
        return None


def build(
    folder: Path, config: EvaluationConfig, detector: Detector, shards_folder: Path, runner: embedding.Runner
) -> Reference:
    """The features, made or out of the cache, written to ``folder``; the JSON comes last and makes them valid."""
    key = key_of(config, detector, shards.read_index(shards_folder).digest)
    made = reals.reference(
        shards_folder,
        config.measured_by(),
        detector,
        videos=key["videos"],
        seed=config.seed,
        batch_size=config.batch_size,
        cache=Cache(config.cache),
        runner=runner,
    )
    made = replace(made, index={"key": key, **made.index})
    memory = io.BytesIO()
    np.savez(memory, reals=made.reals, floor=made.floor, key=np.array(json.dumps(key)))
    (folder / f"{detector.network}.json").unlink(missing_ok=True)
    write_bytes(folder / f"{detector.network}.npz", memory.getvalue())
    write_bytes(folder / f"{detector.network}.json", (json.dumps(made.index, indent=1) + "\n").encode())
    return made


def require(config: EvaluationConfig, detector: Detector) -> Reference:
    """The features that ``config`` and ``detector`` ask for; a ``UserError`` where the stage has not made them."""
    found = read(REFERENCE, detector, key_of(config, detector, shards.read_index(SHARDS).digest))
    if found is None:
        raise UserError(
            f"{REFERENCE}: no features of this data, protocol, detector, count and seed; run python -m pipelines.reference"
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml, embed the real clips as far as they are not there already, and say what was done."""
    from pipelines import params

    settings = params.load()
    config = settings.evaluation
    index = shards.read_index(SHARDS)
    with embedding.runner(config, settings.cluster) as runner:
        for detector in all_detectors(config):
            if detector.measure != "frechet":
                continue
            found = read(REFERENCE, detector, key_of(config, detector, index.digest))
            what = "there already (same data, protocol, detector, counts and seed)"
            if found is None:
                found, what = build(REFERENCE, config, detector, SHARDS, runner), "written"
            counts = f"{len(found.reals)} + {len(found.floor)} clips"
            print(f"reference: {counts}, {detector.metric_name}, {REFERENCE}: {what}", flush=True)
            for note in found.index["notes"]:
                print(f"reference: note: {note}", flush=True)


if __name__ == "__main__":
    run_stage(main)
