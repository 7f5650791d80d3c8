"""Networks that turn videos into features. ``table.py`` declares them, ``weights.py`` reads their weights."""

from __future__ import annotations

import hashlib

from digan.errors import UserError
from pipelines.detectors import networks, weights
from pipelines.detectors.config import DetectorConfig
from pipelines.detectors.detector import Detector
from pipelines.detectors.table import TABLE

__all__ = ["Detector", "DetectorConfig", "load", "load_extra_detectors"]


def load(config: DetectorConfig, resize: str = "crop") -> Detector:
    """The detector that ``config`` names; a ``UserError`` where its weights are missing or do not fit."""
    row = TABLE[config.detector]
    if row.is_stand_in:
        return row.detector(b"", f"evaluation.detector={row.name}", resize)
    data = weights.read(config.weights, key="evaluation.weights", where=weights.WHERE, sha256=config.weights_sha256)
    if row.runs_code and not config.weights_sha256:
        raise UserError(
            f"evaluation.detector={row.name}: runs the code in the file, so evaluation.weights_sha256 must name"
            f" it; this file's is {hashlib.sha256(data).hexdigest()}"
        )
    return row.detector(data, f"evaluation.weights={config.weights}", resize)


def load_extra_detectors(config: DetectorConfig) -> list[Detector]:
    """The extra detectors of ``evaluation.extra_detectors``, in its order."""
    found = []
    for name, address in config.extra_weights().items():
        data = weights.read(address, key=f"evaluation.extra_detectors: {name}", where=networks.C3D_WHERE)
        found.append(TABLE[name].detector(data, f"evaluation.extra_detectors: {name}={address}", "crop"))
    return found
