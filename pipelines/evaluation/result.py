"""The result of an evaluation as one value: written to and read from JSON, and rendered for terminals, pages and MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from digan.errors import UserError
from digan.metrics.uncertainty import Extrapolation, Interval, mean_and_std
from pipelines.registry.alias_decision import MetricValue

NAN = math.nan
MEAN, STD = "mean over draws", "standard deviation over draws"
# Label, attribute without which the row is left out, and format of a row; the mean is never left out.
ROWS = (
    (STD, "std", "{std:.2g}"),
    ("95 % interval (bootstrap)", "low", "{low:.4g} to {high:.4g}"),
    ("real vs. real", "real_vs_real", "{real_vs_real:.4g}"),
    ("untrained generator", "untrained", "{untrained:.4g}"),
    ("ratio to the untrained generator", "ratio_to_untrained", "{ratio_to_untrained:.3f}"),
    ("infinitely many videos", "infinite", "{infinite:.4g} +- {infinite_error:.2g}{trust}"),
    ("variance explained by its fit", "infinite_r2", "{infinite_r2:.4g}"),
)


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """One metric over all draws; nan is unknown.

    ``std`` is over the draws (n - 1; 0 for one draw), ``spread`` that or the bootstrap's, whichever is larger. ``low`` and
    ``high`` bound the mean with 95 % (bootstrap of the first draw). ``real_vs_real`` compares real clips with real ones,
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
        values = {"real_vs_real": real_vs_real, "untrained": untrained, "spread": std}
        if interval is not None:
            shift = mean - draws[0]
            values |= {"low": interval.low + shift, "high": interval.high + shift, "bootstrap_std": interval.std}
            values["spread"] = float(np.fmax(std, interval.std))
        if infinite is not None:
            values |= {"infinite": infinite.infinite, "infinite_error": infinite.error, "infinite_r2": infinite.r2}
            values["infinite_trusted"] = float(infinite.trusted)
        ratio = mean / untrained if untrained else NAN
        std = std if len(draws) > 1 else 0.0
        return cls(mean=mean, std=std, ratio_to_untrained=ratio, draws=tuple(draws), **values)

    def to_json(self) -> dict[str, float]:
        """The known values by name."""
        return {key: value for key, value in vars(self).items() if key != "draws" and not math.isnan(value)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MetricSummary:
        """The summary that ``to_json`` wrote; ``floor`` is the former name of ``real_vs_real``, unknown keys are ignored."""
        names = {field.name for field in fields(cls)} - {"draws"}
        renamed = {"real_vs_real" if key == "floor" else key: value for key, value in values.items()}
        known: dict[str, Any] = {key: float(value) for key, value in renamed.items() if key in names}
        return cls(**known)

    def rows(self) -> dict[str, str]:
        """The known values for people, by label."""
        values = {**vars(self), "trust": "" if self.infinite_trusted else "; too few clips to trust it"}
        known = {label: text.format_map(values) for label, key, text in ROWS if not math.isnan(values[key])}
        return {MEAN: f"{self.mean:.4g}", **known}


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """``metrics`` by name, ``metric`` the main one's, and everything that they depend on; ``None`` is left out of the JSON.

    Results compare if protocol, seed, data and detector agree. ``fake_digest``, ``size`` and ``notes`` are set by `digan evaluate`,
    the keys from ``clips_seen`` to ``weights_digest`` and ``extra_detectors`` by the stage `evaluate`.
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
    size: str | None = None
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

    def figures(self) -> dict[str, float]:
        """The finite values of all metrics under the names that MLflow shows, where `result/` comes after the curves."""
        each = ((name, key, value) for name, one in self.metrics.items() for key, value in one.to_json().items())
        return {f"result/{name}/{key}": value for name, key, value in each if math.isfinite(value)}

    def to_json(self) -> dict[str, Any]:
        """The content of metrics/evaluation.json: each metric under its name, with the other keys."""
        known = {key: value for key, value in vars(self).items() if key != "metrics" and value is not None}
        return {"metric": self.metric, **{name: one.to_json() for name, one in self.metrics.items()}, **known}

    @classmethod
    def read(cls, path: Path, *, source: str, remedy: str) -> EvaluationResult:
        """The result that ``to_json`` wrote, in a file. Errors: ``UserError`` that names ``source`` and ``remedy``."""
        try:
            content = json.loads(path.read_text())
            names = {field.name for field in fields(cls)} - {"metrics"}
            known = {key: value for key, value in content.items() if key in names}
            summaries = {key: one for key, one in content.items() if isinstance(one, Mapping) and "mean" in one}
            result = cls(metrics={key: MetricSummary.from_json(one) for key, one in summaries.items()}, **known)
            result.main  # noqa: B018 raises KeyError if the main metric is missing
        except FileNotFoundError:
            raise UserError(f"{source}: no such file; {remedy}") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{source}: is not JSON ({error.msg}, line {error.lineno}); {remedy}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source}: holds no metric ({type(error).__name__}: {error}); {remedy}") from None
        return result

    def value(self, protocol: str, *, source: str, remedy: str) -> MetricValue:
        """The main metric for comparisons; ``protocol`` is a template over the JSON's keys. Errors: as in ``read``."""
        content = self.to_json()
        try:
            data, detector = str(content["data_digest"]), str(content["detector_digest"])
            text = protocol.format_map(content)
        except KeyError as error:
            raise UserError(f"{source}: holds no metric (no {error}); {remedy}") from None
        return MetricValue(
            metric=self.metric,
            value=self.main.mean,
            spread=self.main.spread,
            real_vs_real=self.main.real_vs_real,
            data=data,
            detector=detector,
            protocol=text,
        )

    @property
    def stand_in_note(self) -> str:
        """A warning if the detector is a stand-in; empty for FVD."""
        note = f"{self.metric} is a stand-in and no FVD: detector i3d with its Kinetics-400 weights gives that."
        return note if self.is_stand_in else ""

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Head and rows of a table with a column for each metric."""
        columns = {name: one.rows() for name, one in self.metrics.items()}
        labels = dict.fromkeys(label for column in columns.values() for label in column)
        return ("", *columns), [(label, *(column.get(label, "-") for column in columns.values())) for label in labels]

    def markdown(self) -> str:
        """The table of all metrics in Markdown."""
        head, rows = self.table()
        lines = [head, tuple("---" for _ in head), *rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def text(self) -> str:
        """The result for a terminal: the main metric first, then its values, the other metrics and what was measured."""
        shown = {
            **{label: value for label, value in self.main.rows().items() if label not in (MEAN, STD)},
            **{name: self._mean_and_std(one) for name, one in self.metrics.items() if name != self.metric},
            "counts": f"{self.draws} draws of {self.videos} videos" if self.draws else "",
            "protocol": self.protocol_text,
            "size": self.size,
            "seed": "" if self.seed is None else str(self.seed),
            "best snapshot": "" if self.clips_seen is None else f"{self.clips_seen} clips seen ({self.generator})",
            "detector": f"{self.detector} {(self.detector_digest or '')[:12]}" if self.detector else "",
            "real data": (self.data_digest or "")[:12],
        }
        lines = [f"{self.metric}: {self._mean_and_std(self.main)}, lower is better"]
        lines += [f"  {label:<33} {value}" for label, value in shown.items() if value]
        lines += [f"  note: {note}" for note in self.notes or ()]
        return "\n".join([*lines, self.stand_in_note]).rstrip()

    def _mean_and_std(self, one: MetricSummary) -> str:
        spread = "" if self.draws == 1 or math.isnan(one.std) else f" +- {one.std:.2g}"
        return f"{one.mean:.4g}{spread}"
