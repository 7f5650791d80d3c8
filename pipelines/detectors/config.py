"""The keys of params.yaml that choose detectors and their weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

from digan.errors import UserError
from pipelines.detectors.table import DETECTORS, EXTRA_DETECTORS


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
        if not re.fullmatch(r"(?:[0-9a-f]{64})?", self.weights_sha256):
            rule = "must be 64 hexadecimal digits, as sha256sum prints"
            raise UserError(f"evaluation.weights_sha256={self.weights_sha256}: {rule}")
        self.extra_weights()

    def extra_weights(self) -> dict[str, tuple[str, str]]:
        """Return address and SHA-256 (or empty) of each extra detector, from ``name=address#sha256, name=address``."""
        found: dict[str, tuple[str, str]] = {}
        for part in filter(None, map(str.strip, self.extra_detectors.split(","))):
            name, _, address = map(str.strip, part.partition("="))
            if name not in EXTRA_DETECTORS or not address or name in found:
                problem = f"{part} is not NAME=ADDRESS or NAME=ADDRESS#SHA256 with a name of its own"
                names = f"names are {', '.join(EXTRA_DETECTORS)}"
                raise UserError(f"evaluation.extra_detectors={self.extra_detectors}: {problem}; {names}")
            with_sum = re.fullmatch(r"(.+)#([0-9a-f]{64})", address, re.IGNORECASE)
            found[name] = (with_sum[1], with_sum[2].lower()) if with_sum else (address, "")
        return found
