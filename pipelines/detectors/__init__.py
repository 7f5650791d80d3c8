"""Networks that turn videos into features. ``table.py`` declares them, ``weights.py`` reads their weights."""

from __future__ import annotations

from digan.errors import UserError
from pipelines.detectors import weights
from pipelines.detectors.config import DetectorConfig
from pipelines.detectors.detector import Detector
from pipelines.detectors.table import TABLE

__all__ = ["Detector", "DetectorConfig", "load", "load_extra_detectors"]


def load(config: DetectorConfig, resize: str = "crop") -> Detector:
    """Return the detector that ``config`` names. Errors: ``UserError`` if its weights are missing or do not fit."""
    entry = TABLE[config.detector]
    if entry.is_stand_in:
        return entry.detector(entry.read(), f"evaluation.detector={entry.network}", resize)
    stand_in = "set evaluation.detector=transnetv2, a stand-in whose values are not FVD"
    remedy = f"give {entry.file} as a path or s3:// address, or {stand_in}"
    if not config.weights:
        raise UserError(f"evaluation.weights is empty: FVD is defined by I3D's trained weights; {remedy}")
    setting = f"evaluation.weights={config.weights}"
    data = weights.read(config.weights, setting, remedy)
    return entry.detector(data, setting, resize, expected_sha256=config.weights_sha256)


def load_extra_detectors(config: DetectorConfig) -> list[Detector]:
    """Return the detectors of ``evaluation.extra_detectors``, in its order. Errors: as in ``load``."""
    found = []
    for name, (address, sha256) in config.extra_weights().items():
        entry, setting = TABLE[name], f"evaluation.extra_detectors: {name}={address}"
        data = weights.read(address, setting, f"give {entry.file} as {name}=ADDRESS or leave {name} out")
        found.append(entry.detector(data, setting, expected_sha256=sha256, named_by=f"{name}=ADDRESS#SHA256"))
    return found
