"""The rule that decides a version's alias, without MLflow.

A version is compared with the champion only if both were measured with the same metric, data, detector and protocol (a
distance falls with the number of videos). It becomes ``champion`` if there is none, or if its mean is lower by more than
``margin`` times the spread of the difference; otherwise it becomes ``challenger``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digan.errors import UserError
from digan.metrics.uncertainty import Comparison, compare

CHAMPION, CHALLENGER = "champion", "challenger"
# field of Figure -> tag of a version
TAGS = {name: name for name in ("metric", "value", "spread", "protocol")}
TAGS |= {"data": "data.digest", "detector": "detector.digest"}


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """``value`` (mean over draws, lower is better) of ``metric``, and how it was measured.

    ``spread`` is its standard deviation (nan: unknown), ``data`` and ``detector`` are digests, ``protocol`` is a text
    for people such as ``256 videos of 16 frames``.
    """

    metric: str
    value: float
    spread: float
    data: str
    detector: str
    protocol: str

    def tags(self) -> dict[str, str]:
        """Return the tags of a version that store this value."""
        values = {tag: getattr(self, field) for field, tag in TAGS.items()}
        return {tag: value if isinstance(value, str) else repr(value) for tag, value in values.items()}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> MetricValue | None:
        """Read a version's tags; ``None`` if they store no value (registered by other means)."""
        tags = {"spread": "nan", **tags}
        try:
            values: dict[str, Any] = {field: tags[tag] for field, tag in TAGS.items()}
            return cls(**{**values, "value": float(values["value"]), "spread": float(values["spread"])})
        except (KeyError, ValueError):
            return None

    def unlike(self, other: MetricValue) -> str:
        """Describe how the two were measured differently; empty if they can be compared."""
        differences = []
        for name, length in (("metric", None), ("data", 12), ("detector", 12), ("protocol", None)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                differences.append(f"{name} {mine[:length]} instead of {theirs[:length]}")
        return ", ".join(differences)

    def against(self, other: MetricValue, *, margin: float) -> Comparison:
        """Compare the two. Errors: ``UserError`` if they were measured differently."""
        if unlike := self.unlike(other):
            raise UserError(f"two figures that cannot be compared: {unlike}; measure both under one protocol")
        return compare(self.value, other.value, spreads=(self.spread, other.spread), margin=margin)


@dataclass(frozen=True, kw_only=True)
class AliasDecision:
    """The alias that a version gets, and the reason in words."""

    alias: str
    reason: str


def decide_alias(
    candidate: MetricValue, champion: MetricValue | None, *, champion_version: str | None, name: str, margin: float
) -> AliasDecision:
    """Apply the rule above; ``champion_version`` is ``None`` if there is no champion."""
    if not math.isfinite(candidate.value):
        return AliasDecision(alias=CHALLENGER, reason=f"{candidate.metric} is {candidate.value}: never a champion")
    if champion_version is None:
        return AliasDecision(alias=CHAMPION, reason=f"the first of its name, {candidate.metric} {candidate.value:.4g}")
    by_hand = f"to promote it all the same: set the alias {CHAMPION} of {name} in the MLflow UI"
    if champion is None:
        reason = f"champion (version {champion_version}) has no figure to compare with; {by_hand}"
        return AliasDecision(alias=CHALLENGER, reason=reason)
    if unlike := candidate.unlike(champion):
        reason = f"not comparable with the champion (version {champion_version}): {unlike}; {by_hand}"
        return AliasDecision(alias=CHALLENGER, reason=reason)
    comparison = candidate.against(champion, margin=margin)
    is_lower = comparison.difference < 0
    alias = CHAMPION if is_lower and comparison.is_significant else CHALLENGER
    outcome = "no better" if not is_lower else "better" if alias == CHAMPION else "not surely better"
    return AliasDecision(
        alias=alias,
        reason=f"{outcome} than the champion: {candidate.metric} {candidate.value:.4g} against {champion.value:.4g} of"
        f" version {champion_version}; {comparison.text}",
    )
