"""The rule that decides a version's alias, without MLflow.

A version is compared with the champion only if both were measured with the same metric, data, detector and protocol,
since a distance depends on the number of videos. It becomes ``champion`` if its value is lower by more than ``margin`` times
the spread of the difference, or, if there is no champion, at most ``max_ratio`` times the value of real videos against real
ones; otherwise it becomes ``challenger``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digan.errors import UserError
from digan.metrics.uncertainty import Comparison, compare

CHAMPION, CHALLENGER = "champion", "challenger"
NUMBERS = ("value", "spread", "real_vs_real")
TAGS = {name: name for name in ("metric", *NUMBERS, "protocol")}  # field of MetricValue -> tag of a version
TAGS |= {"data": "data.digest", "detector": "detector.digest"}


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """``value`` of ``metric`` (mean over draws, lower is better) and how it was measured.

    ``spread`` is its standard deviation, ``real_vs_real`` the value of real videos against real ones (nan: unknown), ``data``
    and ``detector`` are digests, ``protocol`` is a text such as ``256 videos of 16 frames``.
    """

    metric: str
    value: float
    spread: float
    data: str
    detector: str
    protocol: str
    real_vs_real: float = math.nan

    def tags(self) -> dict[str, str]:
        """Return this value as tags of a version."""
        return {tag: str(getattr(self, field)) for field, tag in TAGS.items()}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> MetricValue | None:
        """Read a version's tags; return ``None`` if they hold no value (a version registered by other means)."""
        try:
            known = {"spread": "nan", "real_vs_real": "nan", **tags}
            values: dict[str, Any] = {field: known[tag] for field, tag in TAGS.items()}
            return cls(**{**values, **{name: float(values[name]) for name in NUMBERS}})
        except (KeyError, ValueError):
            return None

    def differences(self, other: MetricValue) -> str:
        """Describe how the two were measured differently; empty if they are comparable."""
        lengths = {"metric": None, "data": 12, "detector": 12}
        pairs = [(name, getattr(self, name), getattr(other, name), length) for name, length in lengths.items()]
        found = [f"{name} {a[:length]} instead of {b[:length]}" for name, a, b, length in pairs if a != b]
        if self.protocol != other.protocol:
            found.append(f"protocol {_unlike(self.protocol, other.protocol)}")
        return ", ".join(found)

    def against(self, other: MetricValue, *, margin: float) -> Comparison:
        """Compare the two. Errors: ``UserError`` if they were measured differently."""
        if differences := self.differences(other):
            raise UserError(f"the values are not comparable: {differences}; measure both with the same protocol")
        return compare(self.value, other.value, spreads=(self.spread, other.spread), margin=margin)


def _unlike(protocol: str, other: str) -> str:
    """The parts, between commas, in which two protocols differ."""
    own, others = protocol.split(", "), other.split(", ")
    added = ", ".join(part for part in own if part not in others)
    missing = ", ".join(part for part in others if part not in own)
    if bool(added) == bool(missing):
        return f"{added or protocol} instead of {missing or other}"
    return f'with "{added}"' if added else f'without "{missing}"'


@dataclass(frozen=True, kw_only=True)
class AliasRule:
    """The numbers of the rule above; ``max_ratio`` 0 accepts any first champion."""

    margin: float
    max_ratio: float

    def first(self, candidate: MetricValue, *, by_hand: str) -> AliasDecision:
        """The decision if there is no champion."""
        value, real = f"{candidate.metric} {candidate.value:.4g}", candidate.real_vs_real
        if not self.max_ratio or candidate.value <= self.max_ratio * real:
            known = "" if math.isnan(real) else f", real vs. real {real:.4g}"
            return AliasDecision(alias=CHAMPION, reason=f"first champion, {value}{known}")
        limit = f"registry.max_ratio={self.max_ratio:g}"
        problem = f"is more than {self.max_ratio:g} times real vs. real, {real:.4g} ({limit})"
        if math.isnan(real):
            problem = f"cannot be compared with real vs. real, which is unknown ({limit})"
        return AliasDecision(alias=CHALLENGER, reason=f"no champion yet: {value} {problem}; {by_hand}")


@dataclass(frozen=True, kw_only=True)
class AliasDecision:
    """The alias of a version and the reason."""

    alias: str
    reason: str


def decide_alias(
    candidate: MetricValue, champion: MetricValue | None, *, champion_version: str | None, name: str, rule: AliasRule
) -> AliasDecision:
    """Apply the rule above; ``champion_version`` is ``None`` if there is no champion."""
    alias, measured = CHALLENGER, f"{candidate.metric} {candidate.value:.4g}"
    by_hand = f"to promote this version anyway, set the alias {CHAMPION} of {name} in the MLflow UI"
    if not math.isfinite(candidate.value):
        reason = f"{candidate.metric} is {candidate.value}, which cannot become champion"
    elif champion_version is None:
        return rule.first(candidate, by_hand=by_hand)
    elif champion is None:
        reason = f"the champion (version {champion_version}) has no value to compare with; {by_hand}"
    elif differences := candidate.differences(champion):
        reason = f"not comparable with the champion (version {champion_version}): {differences}; {by_hand}"
    else:
        comparison = candidate.against(champion, margin=rule.margin)
        is_lower = comparison.difference < 0
        alias = CHAMPION if is_lower and comparison.is_significant else CHALLENGER
        outcome = "not better" if not is_lower else "better" if alias == CHAMPION else "not significantly better"
        reason = f"{outcome} than the champion: {measured}, version {champion_version} has {champion.value:.4g}; "
        reason += comparison.text
    return AliasDecision(alias=alias, reason=reason)
