"""``tune.space`` of params.yaml: the parameters that a sweep varies and their ranges, as ``training.r1_gamma: {loguniform: [0.1, 10]}``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from digan.errors import UserError, suggestion

KINDS = {
    "uniform": "[low, high]",
    "loguniform": "[low, high], above 0",
    "quniform": "[low, high, step]",
    "randint": "[low, high], both included",
    "lograndint": "[low, high], from 1, both included",
    "choice": "[value, value, ...]",
    "grid": "[value, value, ...], each with every other",
}
LISTS = ("choice", "grid")
WHOLE = ("randint", "lograndint")
SECTIONS = ("model", "training")
FIXED = {  # parameters that a sweep sets itself, and what to do instead
    "training.clips": "set tune.clips",
    "training.checkpoint_interval": "set tune.grace_period",
    **{f"training.{rhythm}_interval": "it changes no result" for rhythm in ("sample", "snapshot")},
    **{f"training.{kind}s_kept": "it changes no result" for kind in ("checkpoint", "snapshot")},
    "training.on_divergence": "a trial that diverges has failed",
}
TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

Value = int | float | str | bool


@dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """One parameter that varies: ``values`` for ``choice`` and ``grid``, else ``low``, ``high`` and ``step`` (0: none); the
    limits of a range of whole numbers are integers."""

    name: str
    kind: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether the values are listed."""
        return self.kind in LISTS

    @property
    def logarithmic(self) -> bool:
        """Whether draws and plots are on a logarithmic scale."""
        return self.kind in ("loguniform", "lograndint")

    def domain(self) -> Any:
        """Return Tune's domain for the parameter, from which population-based training draws."""
        from ray import tune

        if self.finite:
            return list(self.values)
        if self.kind in WHOLE:
            return getattr(tune, self.kind)(int(self.low), int(self.high) + 1)
        return getattr(tune, self.kind)(self.low, self.high, *([self.step] if self.step else []))

    def limited(self, value: Any) -> Value:
        """Return ``value`` limited to the range, as an integer or with four digits; a listed value as it is."""
        if self.finite:
            return value
        value = min(max(value, self.low), self.high)
        return int(value) if self.kind in WHOLE else float(f"{value:.4g}")

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        if self.finite:
            return self.values[int(rng.integers(len(self.values)))]
        if self.kind == "randint":
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.logarithmic:
            above = self.high + 1 if self.kind == "lograndint" else self.high
            return self.limited(math.exp(rng.uniform(math.log(self.low), math.log(above))))
        drawn = float(rng.uniform(self.low, self.high))
        if self.kind == "quniform":
            drawn = self.low + round((drawn - self.low) / self.step) * self.step
        return float(f"{drawn:.4g}")


def parse(space: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> list[SearchParameter]:
    """Return the parameters of a space, given all ``values`` of params.yaml; ``UserError`` for an entry that cannot work."""
    known = {f"{section}.{key}": value for section in SECTIONS for key, value in values[section].items()}
    return [_parameter(name, entry, known) for name, entry in space.items()]


def _parameter(name: str, entry: Any, known: Mapping[str, Any]) -> SearchParameter:
    key, kinds = f"tune.space.{name}", ", ".join(KINDS)
    if name in FIXED:
        raise UserError(f"{key}: cannot be swept; {FIXED[name]}")
    if name not in known:
        remedy = "settings of data and evaluation are varied with `dvc exp run --queue -S`"
        raise UserError(f"{key}: no parameter of {' or '.join(SECTIONS)}; {suggestion(str(name), known)} ({remedy})")
    if not isinstance(entry, dict) or len(entry) != 1:
        raise UserError(f"{key}={entry}: must be one of {kinds}, such as {{loguniform: [0.1, 10]}}")
    ((kind, arguments),) = entry.items()
    if kind not in KINDS:
        raise UserError(f"{key}: unknown kind of range {kind}; {suggestion(str(kind), KINDS)}")
    if not isinstance(arguments, list) or not arguments:
        raise UserError(f"{key}={arguments}: {kind} takes {KINDS[kind]}")
    return (_listed if kind in LISTS else _ranged)(name, kind, arguments, known[name])


def _listed(name: str, kind: str, arguments: list[Any], current: Any) -> SearchParameter:
    values: list[Value] = []
    for value in arguments:
        if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(current):
            raise UserError(f"tune.space.{name}: {value!r} is not {TYPES[type(current)]}, as {name} is")
        if value in values:
            raise UserError(f"tune.space.{name}: {value!r} is listed twice")
        values.append(value)
    return SearchParameter(name=name, kind=kind, values=tuple(values))


def _ranged(name: str, kind: str, arguments: list[Any], current: Any) -> SearchParameter:
    key = f"tune.space.{name}={{{kind}: {arguments}}}"
    numeric = all(isinstance(a, int | float) and not isinstance(a, bool) and math.isfinite(a) for a in arguments)
    if not numeric or len(arguments) != (3 if kind == "quniform" else 2):
        raise UserError(f"{key}: {kind} takes {KINDS[kind]}")
    low, high, step = (*arguments, 0.0)[:3]
    whole, integers = kind in WHOLE, isinstance(low, int) and isinstance(high, int)
    beyond = kind == "quniform" and not 0 < step <= high - low
    checks = {
        f"{name} is not a number; use choice or grid": isinstance(current, bool | str),
        f"{name} is a whole number; use randint, choice or grid": isinstance(current, int) and not whole,
        f"{name} is a number with a fraction; use uniform or loguniform": isinstance(current, float) and whole,
        f"{kind} takes whole numbers": whole and not integers,
        f"impossible range, {low} must be below {high}": low >= high,
        f"impossible range, {low} must be above 0 for a logarithm; try uniform": kind == "loguniform" and low <= 0,
        f"impossible range, {low} must be at least 1; try randint": kind == "lograndint" and low < 1,
        f"impossible step, it must be above 0 and at most {high - low}": beyond,
    }
    for problem, found in checks.items():
        if found:
            raise UserError(f"{key}: {problem}")
    low, high = (low, high) if whole else (float(low), float(high))
    return SearchParameter(name=name, kind=kind, low=low, high=high, step=float(step))


def grid(parameters: list[SearchParameter]) -> list[dict[str, Value]]:
    """Return all combinations of the listed values, the last parameter's changing fastest; ``UserError`` for a range."""
    for parameter in parameters:
        if not parameter.finite:
            remedy = "tune.search=grid needs grid or choice, or set tune.search=random"
            raise UserError(f"tune.space.{parameter.name}: {parameter.kind} has endless values; {remedy}")
    names = [parameter.name for parameter in parameters]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(*(p.values for p in parameters))]


def draw(parameters: list[SearchParameter], *, seed: int, number: int) -> dict[str, Value]:
    """Draw the values of trial ``number``: ``grid`` values in turn, all others at random with the seed (seed, number)."""
    rng = np.random.default_rng([seed, number])
    combinations = grid([p for p in parameters if p.kind == "grid"])
    listed = combinations[number % len(combinations)]
    return {p.name: listed[p.name] if p.kind == "grid" else p.draw(rng) for p in parameters}
