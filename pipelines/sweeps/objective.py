"""What a sweep minimises: the quick measure of the averaged generator at a checkpoint, by the code of the stage `evaluate`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from digan.metrics.features import from_features
from digan.metrics.frechet import frechet_distance
from digan.models.generator import Generator
from pipelines import detectors, evaluate, reference
from pipelines.detectors import Detector, EvaluationConfig
from pipelines.media.shards import read_index
from pipelines.media.write import write_bytes
from pipelines.report.progress import Progress

MEASURES = "measures"
_detectors: dict[EvaluationConfig, Detector] = {}


def quick(config: EvaluationConfig, videos: int) -> EvaluationConfig:
    """The configuration of a quick measure: one draw of ``videos``."""
    return replace(config, videos=videos, draws=1)


def prepare(config: EvaluationConfig, shards: Path, folder: Path) -> str:
    """Features of real clips for the quick measure in ``folder``, unless they are there; the value is the measure's name."""
    detector = _detector(config)
    if reference.read(folder, reference.key_of(config, detector, read_index(shards).digest)) is None:
        reference.build(folder, config, detector, shards)
    return detector.metric_name


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Called by rank 0 of a trial: clips seen, averaged generator -> ``{"objective": distance, "seconds": cost}``.

    What was measured stands in ``folder`` by clips seen, so that a trial that goes on measures nothing twice. ``reference`` is the
    folder that ``prepare`` filled.
    """

    config: EvaluationConfig
    shards: str
    reference: str
    folder: str

    def __call__(self, clips_seen: int, generator: Generator) -> dict[str, float]:
        path = Path(self.folder) / f"{clips_seen:010d}.json"
        if path.is_file():
            return json.loads(path.read_text())
        start = time.monotonic()
        value = self._distance(generator)
        values = {"objective": value, "seconds": round(time.monotonic() - start, 3)}
        if math.isfinite(value):
            write_bytes(path, (json.dumps(values) + "\n").encode())
        return values

    def _distance(self, generator: Generator) -> float:
        if any(not bool(p.isfinite().all()) for p in generator.parameters()):
            return math.nan
        index = read_index(Path(self.shards))
        detector = _detector(self.config)
        real = reference.read(Path(self.reference), reference.key_of(self.config, detector, index.digest))
        assert real is not None, f"{self.reference}: not prepared"
        progress = Progress("measure", self.config.videos, show=lambda line: None)
        fakes = evaluate.embed_fakes(generator, detector, self.config, frames=index.frames, draw=0, progress=progress)
        if not np.isfinite(fakes).all():
            return math.nan
        return frechet_distance(from_features(real.reals), from_features(fakes))


def measured(folder: Path) -> list[dict[str, Any]]:
    """What was measured in a trial's folder, by clips seen."""
    found = sorted(p for p in folder.glob("*.json") if p.stem.isdigit())
    return [{"clips_seen": int(path.stem), **json.loads(path.read_text())} for path in found]


def _detector(config: EvaluationConfig) -> Detector:
    if config not in _detectors:
        _detectors[config] = detectors.load(config)
    return _detectors[config]
