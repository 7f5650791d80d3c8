"""What an evaluation finds, as one value: written to and read from JSON, and rendered for terminals, pages and MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from digan.errors import UserError
from digan.metrics.uncertainty import Extrapolation, Interval, mean_and_std
from pipelines.registry.alias_decision import MetricValue

NAN = math.nan
MISSING = "-"


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """One metric over all draws; nan is unknown.

    ``std`` is over the draws (n - 1; 0 for one draw), ``spread`` that or the bootstrap's, whichever is larger. ``low`` and
    ``high`` bound the mean with 95 % (bootstrap of the first draw). ``floor`` compares real clips with real ones,
    ``untrained`` is of the generator before training, ``infinite`` is the value at infinitely many videos with the standard
    error and the explained variance of its fit. ``draws`` has the value of each draw and is not part of the JSON.
    """

    mean: float
    std: float = NAN
    spread: float = NAN
    low: float = NAN
    high: float = NAN
    bootstrap_std: float = NAN
    real_vs_real: float = NAN
    untrained: float = NAN
    ratio_to_untrained: float = NAN
    infinite: float = NAN
    infinite_error: float = NAN
    infinite_r2: float = NAN
    infinite_trusted: float = NAN
    draws: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        draws: Sequence[float],
        *,
        real_vs_real: float = NAN,
        untrained: float = NAN,
        interval: Interval | None = None,
        infinite: Extrapolation | None = None,
    ) -> MetricSummary:
        """Summary of the values of all draws."""
        mean, std = mean_and_std(draws)
        known = [value for value in (std, interval.std if interval else NAN) if not math.isnan(value)]
        shift = mean - draws[0]
        return cls(
            mean=mean,
            std=std if len(draws) > 1 else 0.0,
            spread=max(known, default=NAN),
            low=interval.low + shift if interval else NAN,
            high=interval.high + shift if interval else NAN,
            bootstrap_std=interval.std if interval else NAN,
            real_vs_real=real_vs_real,
            untrained=untrained,
            ratio_to_untrained=mean / untrained if untrained else NAN,
            infinite=infinite.infinite if infinite else NAN,
            infinite_error=infinite.error if infinite else NAN,
            infinite_r2=infinite.r2 if infinite else NAN,
            infinite_trusted=float(infinite.trusted) if infinite else NAN,
            draws=tuple(draws),
        )

    def to_json(self) -> dict[str, float]:
        """The known values by name."""
        values = {key: value for key, value in vars(self).items() if key != "draws"}
        return {key: value for key, value in values.items() if not math.isnan(value)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MetricSummary:
        """The summary that ``to_json`` wrote; ``floor`` is the former name of ``real_vs_real``, unknown keys are ignored."""
        values = {"real_vs_real" if key == "floor" else key: value for key, value in values.items()}
        names = {field.name for field in fields(cls)} - {"draws"}
        known: dict[str, Any] = {key: float(value) for key, value in values.items() if key in names}
        return cls(**known)

    def rows(self) -> dict[str, str]:
        """The values for people, by label; what is unknown is left out."""
        found = {"mean over draws": f"{self.mean:.4g}"}
        if not math.isnan(self.std):
            found["standard deviation over draws"] = f"{self.std:.2g}"
        if not math.isnan(self.low):
            found["95 % interval (bootstrap)"] = f"{self.low:.4g} to {self.high:.4g}"
        if not math.isnan(self.real_vs_real):
            found["real against real (the floor)"] = f"{self.real_vs_real:.4g}"
        if not math.isnan(self.untrained):
            found["untrained generator"] = f"{self.untrained:.4g}"
        if not math.isnan(self.ratio_to_untrained):
            found["ratio to the untrained generator"] = f"{self.ratio_to_untrained:.3f}"
        if not math.isnan(self.infinite):
            trust = "" if self.infinite_trusted else "; too few clips to trust it"
            found["infinitely many videos"] = f"{self.infinite:.4g} +- {self.infinite_error:.2g}{trust}"
        if not math.isnan(self.infinite_r2):
            found["variance explained by its fit"] = f"{self.infinite_r2:.4g}"
        return found


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """``metrics`` by name, ``metric`` the main one's, and everything that they depend on; ``None`` is left out of the JSON.

    Results compare where protocol, seed, data and detector agree. ``fake_digest`` and ``notes`` are set by `digan evaluate`,
    the keys from ``clips_seen`` to ``weights_digest`` and ``companions`` by the stage `evaluate`.
    """

    metric: str
    metrics: Mapping[str, MetricSummary]
    clips_seen: int | None = None
    generator: str | None = None
    weights_digest: str | None = None
    protocol: str | None = None
    protocol_text: str | None = None
    videos: int | None = None
    draws: int | None = None
    curve_videos: int | None = None
    frames: int | None = None
    resolution: int | None = None
    seed: int | None = None
    truncation: float | None = None
    is_stand_in: bool | None = None
    detector: str | None = None
    detector_digest: str | None = None
    weights_sha256: str | None = None
    data_digest: str | None = None
    extra_detectors: Mapping[str, Mapping[str, str]] | None = None
    fake_digest: str | None = None
    notes: Sequence[str] | None = None

    @property
    def main(self) -> MetricSummary:
        """The summary of the main metric."""
        return self.metrics[self.metric]

    def to_json(self) -> dict[str, Any]:
        """The content of metrics/evaluation.json: the metrics stand beside the other keys under their names."""
        rest = {
            key: value for key, value in vars(self).items() if key not in ("metric", "metrics") and value is not None
        }
        return {"metric": self.metric, **{name: one.to_json() for name, one in self.metrics.items()}, **rest}

    @classmethod
    def from_json(cls, content: Any, *, place: str, remedy: str) -> EvaluationResult:
        """The result that ``to_json`` wrote; a ``UserError`` with ``place`` and ``remedy`` where there is none."""
        try:
            names = {field.name for field in fields(cls)} - {"metrics"}
            known = {key: value for key, value in content.items() if key in names}
            metrics = {
                key: MetricSummary.from_json(value)
                for key, value in content.items()
                if isinstance(value, Mapping) and "mean" in value
            }
            result = cls(metrics=metrics, **known)
            result.main  # noqa: B018 raises KeyError where the main metric is missing
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{place}: holds no figure ({type(error).__name__}: {error}); {remedy}") from None
        return result

    @classmethod
    def read(cls, path: Path, *, place: str, remedy: str) -> EvaluationResult:
        """The result in a JSON file; a ``UserError`` with ``place`` and ``remedy`` where there is none."""
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{place}: no such file; {remedy}") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: is not JSON ({error.msg}, line {error.lineno}); {remedy}") from None
        return cls.from_json(content, place=place, remedy=remedy)

    def figure(self, protocol: str, *, place: str, remedy: str) -> MetricValue:
        """What the gate compares; ``protocol`` is a template over the JSON's keys. Errors as in ``from_json``."""
        content = self.to_json()
        try:
            return MetricValue(
                metric=self.metric,
                value=self.main.mean,
                spread=self.main.spread,
                data=str(content["data_digest"]),
                detector=str(content["detector_digest"]),
                protocol=protocol.format_map(content),
            )
        except KeyError as error:
            raise UserError(f"{place}: holds no figure (no {error}); {remedy}") from None

    @property
    def headline(self) -> str:
        """The main metric in a line."""
        return f"{self.metric}: {self._value(self.main)}, lower is better"

    @property
    def stand_in_note(self) -> str:
        """What to say of a stand-in detector; empty for FVD."""
        if not self.is_stand_in:
            return ""
        return f"{self.metric} is a stand-in and no FVD: detector i3d with its Kinetics-400 weights gives that."

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Head and rows of a table with a column for each metric."""
        columns = {name: one.rows() for name, one in self.metrics.items()}
        labels = dict.fromkeys(label for column in columns.values() for label in column)
        rows = [(label, *(column.get(label, MISSING) for column in columns.values())) for label in labels]
        return ("", *columns), rows

    def facts(self) -> list[tuple[str, str]]:
        """What was measured and with what, by label."""
        counts = f"{self.draws} draws of {self.videos} videos" if self.draws else ""
        snapshot = f"{self.clips_seen} clips seen ({self.generator})" if self.clips_seen is not None else ""
        listed = [
            ("counts", counts),
            ("protocol", self.protocol_text or ""),
            ("seed", "" if self.seed is None else str(self.seed)),
            ("best snapshot", snapshot),
            ("detector", f"{self.detector} {(self.detector_digest or '')[:12]}" if self.detector else ""),
            ("real data", (self.data_digest or "")[:12]),
        ]
        return [(label, text) for label, text in listed if text]

    def text(self) -> str:
        """Everything for a terminal."""
        lines = [self.headline]
        for name, one in self.metrics.items():
            shown = list(one.rows().items())[2:] if name == self.metric else [(name, self._value(one))]
            lines += [f"  {label:<33} {value}" for label, value in shown]
        lines += [f"  {label:<33} {value}" for label, value in self.facts()]
        lines += [f"  note: {note}" for note in self.notes or ()]
        return "\n".join([*lines, *filter(None, [self.stand_in_note])])

    def markdown(self) -> str:
        """The table of all metrics in Markdown."""
        head, rows = self.table()
        lines = [head, tuple("---" for _ in head), *rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def _value(self, one: MetricSummary) -> str:
        spread = "" if self.draws == 1 or math.isnan(one.std) else f" +- {one.std:.2g}"
        return f"{one.mean:.4g}{spread}"
