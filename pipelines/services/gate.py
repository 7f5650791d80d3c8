"""Who becomes champion: the rule alone, without MLflow.

A version is compared with the champion only where both were measured on the same data with the same detector, metric
and protocol (a distance falls with the number of videos), and wins where its mean is lower by more than ``margin`` times
the spread of the difference. No champion: it becomes the champion. Otherwise it becomes ``challenger``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digan.errors import UserError
from digan.metrics.spread import Comparison, compare

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a version is judged by: ``value`` (mean over draws, lower is better) of ``metric`` and how it was measured.

    ``spread`` is its standard deviation (nan: not known), ``data`` and ``detector`` are digests, ``protocol`` is a text
    for people such as ``256 videos of 16 frames``.
    """

    metric: str
    value: float
    spread: float
    data: str
    detector: str
    protocol: str

    @classmethod
    def read(cls, content: Mapping[str, Any], protocol: str, *, place: str, remedy: str) -> Figure:
        """The figure in what an evaluation has written; ``protocol`` is a template over its keys.

        ``UserError`` with ``place`` and ``remedy`` where there is none.
        """
        try:
            metric = str(content["metric"])
            return cls(
                metric=metric,
                value=float(content[metric]["mean"]),
                spread=float(content[metric].get("spread", "nan")),
                data=str(content["data_digest"]),
                detector=str(content["detector_digest"]),
                protocol=protocol.format_map(content),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{place}: holds no figure ({type(error).__name__}: {error}); {remedy}") from None

    def tags(self) -> dict[str, str]:
        """The figure as tags of a version."""
        return {
            "metric": self.metric,
            "value": repr(self.value),
            "spread": repr(self.spread),
            "data.digest": self.data,
            "detector.digest": self.detector,
            "protocol": self.protocol,
        }

    @staticmethod
    def of_tags(tags: Mapping[str, str]) -> Figure | None:
        """The figure that a version's tags hold, ``None`` where they hold none (registered by other means)."""
        try:
            return Figure(
                metric=tags["metric"],
                value=float(tags["value"]),
                spread=float(tags.get("spread", "nan")),
                data=tags["data.digest"],
                detector=tags["detector.digest"],
                protocol=tags["protocol"],
            )
        except (KeyError, ValueError):
            return None

    def unlike(self, other: Figure) -> str:
        """In what the two were measured differently, in words; empty where they can be compared."""
        pairs = {
            "metric": (self.metric, other.metric),
            "data": (self.data[:12], other.data[:12]),
            "detector": (self.detector[:12], other.detector[:12]),
            "protocol": (self.protocol, other.protocol),
        }
        different = [what for what in pairs if getattr(self, what) != getattr(other, what)]
        return ", ".join(f"{what} {pairs[what][0]} instead of {pairs[what][1]}" for what in different)

    def against(self, other: Figure, *, margin: float) -> Comparison:
        """The comparison; ``UserError`` where the two were not measured alike."""
        if unlike := self.unlike(other):
            raise UserError(f"two figures that cannot be compared: {unlike}; measure both under one protocol")
        return compare(self.value, other.value, spreads=(self.spread, other.spread), margin=margin)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The alias that a version gets, and why, in a sentence for people."""

    alias: str
    reason: str


def judge(
    candidate: Figure, champion: Figure | None, *, champion_version: str | None, name: str, margin: float
) -> Verdict:
    """The rule of this file's first lines. ``champion_version`` is ``None`` where there is no champion."""
    if not math.isfinite(candidate.value):
        return Verdict(alias=CHALLENGER, reason=f"{candidate.metric} is {candidate.value}: never a champion")
    if champion_version is None:
        return Verdict(alias=CHAMPION, reason=f"the first of its name, {candidate.metric} {candidate.value:.4g}")
    by_hand = f"to promote it all the same: set the alias {CHAMPION} of {name} in the MLflow UI"
    if champion is None:
        return Verdict(
            alias=CHALLENGER, reason=f"champion (version {champion_version}) has no figure to compare with; {by_hand}"
        )
    if unlike := candidate.unlike(champion):
        return Verdict(
            alias=CHALLENGER,
            reason=f"not comparable with the champion (version {champion_version}): {unlike}; {by_hand}",
        )
    comparison = candidate.against(champion, margin=margin)
    numbers = (
        f"{candidate.metric} {candidate.value:.4g} against {champion.value:.4g} of version {champion_version};"
        f" {comparison.text}"
    )
    if comparison.difference < 0 and comparison.is_significant:
        return Verdict(alias=CHAMPION, reason=f"better than the champion: {numbers}")
    if comparison.difference < 0:
        return Verdict(alias=CHALLENGER, reason=f"not surely better than the champion: {numbers}")
    return Verdict(alias=CHALLENGER, reason=f"no better than the champion: {numbers}")
