"""The section ``evaluation`` of params.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass

from digan.errors import UserError
from pipelines.evaluation.protocols import PROTOCOLS, Protocol

# Detectors by name; what their figures may be called stands in pipelines/detectors.
DETECTORS = ("i3d", "i3d_torchscript", "transnetv2", "i3d_untrained")
COMPANIONS = ("c3d", "inception_frames", "video_transformer")
RUNS_ON = ("auto", "process", "ray")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The section ``evaluation`` of params.yaml; the keys are explained there."""

    protocol: str
    detector: str
    weights: str
    weights_sha256: str
    companions: str
    videos: int
    draws: int
    curve_videos: int
    seed: int
    batch_size: int
    truncation: float
    cache: str
    runs_on: str

    def __post_init__(self) -> None:
        for key, known in (("protocol", tuple(PROTOCOLS)), ("detector", DETECTORS), ("runs_on", RUNS_ON)):
            if getattr(self, key) not in known:
                raise UserError(f"evaluation.{key}={getattr(self, key)}: unknown; choose one of {', '.join(known)}")
        for key in ("videos", "draws", "seed", "curve_videos"):
            if getattr(self, key) < 0:
                raise UserError(f"evaluation.{key}={getattr(self, key)}: must be 0 or more")
        for key in ("videos", "curve_videos"):
            if getattr(self, key) == 1:
                raise UserError(f"evaluation.{key}=1: must be 2 or more, or 0 for the protocol's count")
        if self.batch_size < 1:
            raise UserError(f"evaluation.batch_size={self.batch_size}: must be 1 or more")
        if not 0 <= self.truncation <= 1:
            raise UserError(f"evaluation.truncation={self.truncation}: must be from 0 to 1; 1 is off")
        if self.weights_sha256 and not SHA256.fullmatch(self.weights_sha256):
            raise UserError(
                f"evaluation.weights_sha256={self.weights_sha256}: must be 64 hexadecimal digits, as sha256sum prints"
            )
        if not self.cache.strip():
            raise UserError('evaluation.cache="": must be a folder or an s3:// address; try outputs/features')
        self.companion_weights()

    def measured_by(self) -> Protocol:
        """The protocol with the counts of this section in place of its own, where they are set."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.videos, draws=self.draws)

    def curve(self) -> Protocol:
        """The protocol of the snapshots' curve: the same but quick, one draw."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.curve_videos or PROTOCOLS["quick"].videos, draws=1)

    def companion_weights(self) -> dict[str, str]:
        """Address of the weights by the companion's name, from ``name=address, name=address``."""
        found: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in self.companions.split(","))):
            name, _, address = (piece.strip() for piece in part.partition("="))
            if name not in COMPANIONS or not address or name in found:
                raise UserError(
                    f"evaluation.companions={self.companions}: {part} is not NAME=ADDRESS with a name of its own; names"
                    f" are {', '.join(COMPANIONS)}"
                )
            found[name] = address
        return found
