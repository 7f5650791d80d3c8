"""Who becomes champion: the rule alone, without MLflow.

A version is compared with the champion only where both were measured on the same data with the same detector, metric
and protocol (a distance falls with the number of videos), and wins where its mean is lower. No champion: it becomes the
champion. Otherwise it becomes ``challenger``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a version is judged by: ``value`` (mean over draws, lower is better) of ``metric`` and how it was measured.

    ``data`` and ``detector`` are digests, ``protocol`` is a text for people such as ``256 videos of 16 frames``.
    """

    metric: str
    value: float
    data: str
    detector: str
    protocol: str

    def tags(self) -> dict[str, str]:
        """The figure as tags of a version."""
        return {
            "metric": self.metric,
            "value": repr(self.value),
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
                data=tags["data.digest"],
                detector=tags["detector.digest"],
                protocol=tags["protocol"],
            )
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The alias that a version gets, and why, in a sentence for people."""

    alias: str
    reason: str


def judge(candidate: Figure, champion: Figure | None, *, champion_version: str | None, name: str) -> Verdict:
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
    pairs = {
        "metric": (candidate.metric, champion.metric),
        "data": (candidate.data[:12], champion.data[:12]),
        "detector": (candidate.detector[:12], champion.detector[:12]),
        "protocol": (candidate.protocol, champion.protocol),
    }
    other = [what for what in pairs if getattr(candidate, what) != getattr(champion, what)]
    if other:
        shown = ", ".join(f"{what} {pairs[what][0]} instead of {pairs[what][1]}" for what in other)
        return Verdict(
            alias=CHALLENGER,
            reason=f"not comparable with the champion (version {champion_version}): {shown}; {by_hand}",
        )
    numbers = f"{candidate.metric} {candidate.value:.4g} against {champion.value:.4g} of version {champion_version}"
    if candidate.value < champion.value:
        return Verdict(alias=CHAMPION, reason=f"better than the champion: {numbers}")
    return Verdict(alias=CHALLENGER, reason=f"no better than the champion: {numbers}")
