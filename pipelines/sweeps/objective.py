"""The objective that a sweep minimizes: the quick metric of the averaged generator, by the code of the stage `evaluate`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
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
from pipelines.evaluation.quick import quick_measure

MEASURES = "measures"
_detectors: dict[EvaluationConfig, Detector] = {}


def quick(config: EvaluationConfig, videos: int) -> EvaluationConfig:
    """The configuration of a quick metric: one draw of ``videos``, no further detectors."""
    return replace(config, videos=videos, curve_videos=videos, draws=1, extra_detectors="")


def prepare(config: EvaluationConfig, shards: Path, folder: Path) -> str:
    """Write the features of real clips to ``folder``, unless they exist, and return the metric's name."""
    detector = _detector(config)
    found = reference_features.read(folder, shards, config, detector)
    if found is None:
        found = reference_features.build(folder, shards, config, detector, embedding.LocalExecutor())
    if len(found.reference) < config.videos:
        raise UserError(
            f"tune.videos={config.videos}: evaluation.protocol={config.protocol} finds only {len(found.reference)} real clips; "
            f"try {len(found.reference)}"
        )
    return detector.metric_name


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Called by rank 0 of a trial: clips seen, averaged generator -> ``{"objective": distance, "seconds": cost}``.

    Values are written to ``folder`` by clips seen, so that a resumed trial measures nothing twice. ``reference`` is the folder
    that ``prepare`` filled.
    """

    config: EvaluationConfig
    shards: str
    reference: str
    folder: str

    def __call__(self, clips_seen: int, generator: VideoGenerator) -> dict[str, float]:
        path = Path(self.folder) / f"{clips_seen:010d}.json"
        if path.is_file():
            return json.loads(path.read_text())
        start = time.monotonic()
        value = self._distance(generator)
        values = {"objective": value, "seconds": round(time.monotonic() - start, 3)}
        if math.isfinite(value):
            write_bytes(path, (json.dumps(values) + "\n").encode())
        return values

    def _distance(self, generator: VideoGenerator) -> float:
        if any(not bool(p.isfinite().all()) for p in generator.parameters()):
            return math.nan
        index = read_index(Path(self.shards))
        detector = _detector(self.config)
        real = reference_features.read(Path(self.reference), Path(self.shards), self.config, detector)
        assert real is not None, f"{self.reference}: not prepared"
        return quick_measure(
            generator,
            real.reference,
            detector,
            self.config,
            frames=self.config.measured_by().frames_of(index.frames),
            videos=self.config.videos,
        )


def measured(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a trial's folder, in the order of clips seen."""
    found = sorted(p for p in folder.glob("*.json") if p.stem.isdigit())
    return [{"clips_seen": int(path.stem), **json.loads(path.read_text())} for path in found]


def _detector(config: EvaluationConfig) -> Detector:
    if config not in _detectors:
        _detectors[config] = detectors.load(config.detectors(), config.measured_by().resize)
    return _detectors[config]
