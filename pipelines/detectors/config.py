"""Which detectors measure, and with which weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

from digan.errors import UserError
from pipelines.detectors.table import DETECTORS, EXTRA_DETECTORS

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The detector keys of the section ``evaluation`` of params.yaml, which explains them."""

    detector: str
    weights: str
    weights_sha256: str
    extra_detectors: str

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise UserError(f"evaluation.detector={self.detector}: unknown; choose one of {', '.join(DETECTORS)}")
        if self.weights_sha256 and not SHA256.fullmatch(self.weights_sha256):
            raise UserError(
                f"evaluation.weights_sha256={self.weights_sha256}: must be 64 hexadecimal digits, as sha256sum prints"
            )
        self.extra_weights()

    def extra_weights(self) -> dict[str, str]:
        """Address of the weights by the extra detector's name, from ``name=address, name=address``."""
        found: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in self.extra_detectors.split(","))):
            name, _, address = (piece.strip() for piece in part.partition("="))
            if name not in EXTRA_DETECTORS or not address or name in found:
                raise UserError(
                    f"evaluation.extra_detectors={self.extra_detectors}: {part} is not NAME=ADDRESS with a name of its own; names"
                    f" are {', '.join(EXTRA_DETECTORS)}"
                )
            found[name] = address
        return found
