"""The section ``evaluation`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from pipelines.detectors.config import DetectorConfig
from pipelines.evaluation.protocols import PROTOCOLS, EvaluationProtocol

RUNS_ON = ("auto", "process", "ray")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The section ``evaluation`` of params.yaml; the keys are explained there."""

    protocol: str
    detector: str
    weights: str
    weights_sha256: str
    extra_detectors: str
    videos: int
    draws: int
    curve_videos: int
    seed: int
    batch_size: int
    truncation: float
    cache: str
    runs_on: str

    def __post_init__(self) -> None:
        for key, known in (("protocol", tuple(PROTOCOLS)), ("runs_on", RUNS_ON)):
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
        if not self.cache.strip():
            raise UserError('evaluation.cache="": must be a folder or an s3:// address; try outputs/features')
        self.detectors()

    def measured_by(self) -> EvaluationProtocol:
        """The protocol with the counts of this section in place of its own, where they are set."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.videos, draws=self.draws)

    def curve(self) -> EvaluationProtocol:
        """The protocol of the snapshots' curve: the same but quick, one draw."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.curve_videos or PROTOCOLS["quick"].videos, draws=1)

    def detectors(self) -> DetectorConfig:
        """The detectors that measure."""
        return DetectorConfig(
            detector=self.detector,
            weights=self.weights,
            weights_sha256=self.weights_sha256,
            extra_detectors=self.extra_detectors,
        )
