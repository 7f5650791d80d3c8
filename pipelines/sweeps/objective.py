"""The objective that a sweep minimizes: the quick metric of the generator EMA, by the code of the stage `evaluate`."""

from __future__ import annotations

import functools
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digan.atomic import write_bytes
from digan.errors import UserError
from digan.models.generator import VideoGenerator
from pipelines import detectors
from pipelines.dataset.loader import read_index
from pipelines.detectors import Detector
from pipelines.evaluation import embedding, reference_features
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.snapshot_curve import quick_measure

MEASURES = "measures"  # folder of a trial's measurements


def prepare(config: EvaluationConfig, shards: Path, folder: Path) -> str:
    """Write the features of real clips to ``folder``, unless they exist, and return the metric's name."""
    detector = _detector(config)
    inputs = folder, shards, config, detector
    found = reference_features.read(*inputs) or reference_features.build(*inputs, embedding.LocalExecutor())
    if (count := len(found.reference)) < config.videos:
        found_only = f"evaluation.protocol={config.protocol} finds only {count} real clips"
        raise UserError(f"tune.videos={config.videos}: {found_only}; try {count}")
    return detector.metric_name


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Called by rank 0 of a trial: clips seen, generator EMA -> ``{"objective": distance, "seconds": cost}``. A trial's
    ``folder`` keeps the values, so that a resumed trial does not measure again; ``prepare`` filled the folder ``reference``."""

    config: EvaluationConfig
    shards: str
    reference: str
    folder: str = ""

    def __call__(self, clips_seen: int, generator: VideoGenerator) -> dict[str, float]:
        path = Path(self.folder) / f"{clips_seen:010d}.json"
        if path.is_file():
            return json.loads(path.read_text())
        start = time.monotonic()
        value = self._distance(generator) if all(p.isfinite().all() for p in generator.parameters()) else math.nan
        values = {"objective": value, "seconds": round(time.monotonic() - start, 3)}
        if math.isfinite(value):
            write_bytes(path, (json.dumps(values) + "\n").encode())
        return values

    def _distance(self, generator: VideoGenerator) -> float:
        config, shards, detector = self.config, Path(self.shards), _detector(self.config)
        real = reference_features.require(Path(self.reference), shards, config, detector)
        frames = config.measured_by().frames_of(read_index(shards).frames)
        return quick_measure(generator, real.reference, detector, config, frames=frames, videos=config.videos)


def last(folder: Path) -> dict[str, Any] | None:
    """Return the measurement with the most clips seen in a trial's folder, ``None`` if there is none."""
    path = max((path for path in folder.glob("*.json") if path.stem.isdigit()), default=None)
    return {"clips_seen": int(path.stem), **json.loads(path.read_text())} if path else None


@functools.cache
def _detector(config: EvaluationConfig) -> Detector:
    return detectors.load(config, config.measured_by().resize)
