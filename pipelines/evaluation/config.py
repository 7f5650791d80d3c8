"""The section ``evaluation`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError
from pipelines.detectors.config import DetectorConfig
from pipelines.evaluation.protocols import PROTOCOLS, EvaluationProtocol

CHOICES = {"protocol": tuple(PROTOCOLS), "runs_on": ("auto", "process", "ray")}
MINIMA = {"videos": 0, "draws": 0, "seed": 0, "curve_videos": 0, "batch_size": 1}


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(DetectorConfig):
    """The section ``evaluation`` of params.yaml; the keys are explained there."""

    protocol: str
    videos: int
    draws: int
    curve_videos: int
    seed: int
    batch_size: int
    truncation: float
    cache: str
    runs_on: str

    def __post_init__(self) -> None:
        for key, known in CHOICES.items():
            if (value := getattr(self, key)) not in known:
                raise UserError(f"evaluation.{key}={value}: unknown; choose one of {', '.join(known)}")
        for key, minimum in MINIMA.items():
            if (value := getattr(self, key)) < minimum:
                raise UserError(f"evaluation.{key}={value}: must be {minimum} or more")
        for key in ("videos", "curve_videos"):
            if getattr(self, key) == 1:
                raise UserError(f"evaluation.{key}=1: must be 2 or more, or 0 for the protocol's count")
        if not 0 <= self.truncation <= 1:
            raise UserError(f"evaluation.truncation={self.truncation}: must be from 0 to 1; 1 is off")
        if not self.cache.strip():
            raise UserError('evaluation.cache="": must be a folder or an s3:// address; try outputs/features')
        super().__post_init__()

    def measured_by(self) -> EvaluationProtocol:
        """The protocol, with the counts of this section where they are set."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.videos, draws=self.draws)

    def curve(self) -> EvaluationProtocol:
        """The quick variant of the protocol that measures every snapshot: fewer videos, one draw."""
        return PROTOCOLS[self.protocol].with_counts(videos=self.curve_videos or PROTOCOLS["quick"].videos, draws=1)
