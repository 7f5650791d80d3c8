"""Protocols by name: which clips, how many, prepared how. A figure is comparable with those of equal protocol alone.

docs/evaluation.md shows them side by side with their sources.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from digan.errors import UserError
from digan.types import Clip


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How a figure comes about.

    ``videos`` real and as many generated clips a draw, ``draws`` times; ``frames`` a clip (0: those of the shards).
    ``choice`` of reals: ``windows`` (uniform over all clips, none twice before all came once) or ``videos`` (one random
    clip of each of so many videos). ``reals`` is the split they come from: train or test (what was held out).
    ``resize`` to the detector's size: ``crop`` (short side, then the centre) or ``squash`` (both sides).
    """

    name: str
    videos: int
    draws: int
    frames: int
    choice: str
    reference: str
    resize: str

    def with_counts(self, *, videos: int = 0, draws: int = 0) -> EvaluationProtocol:
        """The same with other counts; 0 keeps the protocol's. The text says so."""
        return replace(self, videos=videos or self.videos, draws=draws or self.draws)

    def text(self, frames: int) -> str:
        """All of it in a line for people and for the gate, with ``frames`` as measured."""
        chosen = "one clip a video" if self.choice == "videos" else "uniform over clips"
        scaled = "squashed" if self.resize == "squash" else "short side and centre crop"
        return (
            f"{self.name}: {self.videos} videos of {frames} frames, {self.draws} draws, reals {self.reference}, {chosen},"
            f" {scaled}"
        )

    def frames_of(self, available: int) -> int:
        """Frames that are measured of clips with ``available`` frames; too short clips are a ``UserError``."""
        wanted = self.frames or available
        if wanted > available:
            raise UserError(
                f"evaluation.protocol={self.name}: measures {wanted} frames, the clips have {available}; set"
                f" clips.frames={wanted}, or choose another protocol"
            )
        return wanted

    def cut(self, clip: Clip) -> Clip:
        """The clip's first frames, as many as are measured."""
        frames = self.frames_of(len(clip.frames))
        return clip if frames == len(clip.frames) else replace(clip, frames=clip.frames[:frames])

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


def _named(name: str, **changes: Any) -> EvaluationProtocol:
    values: dict[str, Any] = {
        "videos": 2048,
        "draws": 10,
        "frames": 16,
        "choice": "windows",
        "reference": "train",
        "resize": "crop",
    }
    return EvaluationProtocol(name=name, **{**values, **changes})


PROTOCOLS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        _named("digan"),
        _named("digan-128", frames=128),
        _named("digan-test", reference="test"),
        _named("stylegan-v", choice="videos", draws=1),
        _named("stylegan-v-128", choice="videos", draws=1, frames=128),
        _named("tats", resize="squash"),
        _named("tats-128", resize="squash", frames=128),
        _named("quick", videos=256, draws=3, frames=0),
    )
}
