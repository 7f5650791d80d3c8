"""Evaluation protocols by name: which clips, how many, how resized. Values compare only under equal protocols.

docs/evaluation.md lists them with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from digan.errors import UserError
from digan.types import Clip


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How a metric is measured.

    Each of ``draws`` draws compares ``videos`` generated clips of ``frames`` frames (0: as many as the shards have) with as
    many real ones. ``choice`` of the real clips: ``windows`` (uniform over all clips, none twice before all came once) or
    ``videos`` (one random clip of each video). ``reference`` is their split: train, or test (what was held out). ``resize``
    to the detector's size: ``crop`` (short side, then the center) or ``squash`` (both sides).
    """

    name: str
    videos: int = 2048
    draws: int = 10
    frames: int = 16
    choice: str = "windows"
    reference: str = "train"
    resize: str = "crop"

    def with_counts(self, *, videos: int = 0, draws: int = 0) -> EvaluationProtocol:
        """This protocol with other counts; 0 keeps the protocol's."""
        return replace(self, videos=videos or self.videos, draws=draws or self.draws)

    def text(self, frames: int) -> str:
        """The whole protocol in one line, for people and for comparisons; ``frames`` were measured."""
        chosen = "one clip a video" if self.choice == "videos" else "uniform over clips"
        scaled = "squashed" if self.resize == "squash" else "short side and centre crop"
        counts = f"{self.videos} videos of {frames} frames, {self.draws} draws"
        return f"{self.name}: {counts}, reals {self.reference}, {chosen}, {scaled}"

    def frames_of(self, available: int) -> int:
        """Number of frames to measure of clips with ``available`` frames. Errors: ``UserError`` if there are too few."""
        wanted = self.frames or available
        if wanted > available:
            remedy = f"set clips.frames={wanted}, or choose another protocol"
            problem = f"measures {wanted} frames, the clips have {available}"
            raise UserError(f"evaluation.protocol={self.name}: {problem}; {remedy}")
        return wanted

    def cut(self, clip: Clip) -> Clip:
        """The clip's first frames, as many as are measured."""
        frames = self.frames_of(len(clip.frames))
        return clip if frames == len(clip.frames) else replace(clip, frames=clip.frames[:frames])


_ALL = (
    EvaluationProtocol(name="digan"),
    EvaluationProtocol(name="digan-128", frames=128),
    EvaluationProtocol(name="digan-test", reference="test"),
    EvaluationProtocol(name="stylegan-v", choice="videos", draws=1),
    EvaluationProtocol(name="stylegan-v-128", choice="videos", draws=1, frames=128),
    EvaluationProtocol(name="tats", resize="squash"),
    EvaluationProtocol(name="tats-128", resize="squash", frames=128),
    EvaluationProtocol(name="quick", videos=256, draws=3, frames=0),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
