"""``tune.space`` of params.yaml: the parameters that a sweep varies and their ranges, checked before anything starts.

An entry is ``name: {kind: arguments}`` with a parameter's dotted name, as in ``training.r1_gamma: {loguniform: [0.1, 10]}``.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from digan.errors import UserError

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
    "training.checkpoints_kept": "it changes no result",
    "training.sample_interval": "it changes no result",
    "training.snapshot_interval": "it changes no result",
    "training.snapshots_kept": "it changes no result",
    "training.on_divergence": "such a trial has failed",
}

Value = int | float | str | bool


@dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """One parameter that varies: ``values`` for ``choice`` and ``grid``, else ``low``, ``high`` and ``step`` (0: none)."""

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
        """Tune's domain for the parameter, from which population-based training draws."""
        from ray import tune

        if self.finite:
            return list(self.values)
        if self.kind in WHOLE:
            return getattr(tune, self.kind)(int(self.low), int(self.high) + 1)
        if self.kind == "quniform":
            return tune.quniform(self.low, self.high, self.step)
        return getattr(tune, self.kind)(self.low, self.high)

    def limited(self, value: Any) -> Value:
        """``value`` within the range, as a whole number or with four digits; a listed value as it is."""
        if self.finite:
            return value
        value = min(max(value, self.low), self.high)
        return int(value) if self.kind in WHOLE else float(f"{value:.4g}")

    def draw(self, rng: np.random.Generator) -> Value:
        """One value."""
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
    """Return the parameters of a space; ``values`` are all values of params.yaml by section and key.

    Errors: ``UserError`` for an unknown name or kind and an impossible range.
    """
    known = {f"{section}.{key}": value for section in SECTIONS for key, value in values[section].items()}
    return [_parameter(name, entry, known) for name, entry in space.items()]


def _parameter(name: str, entry: Any, known: Mapping[str, Any]) -> SearchParameter:
    place = f"tune.space.{name}"
    if name in FIXED:
        raise UserError(f"{place}: cannot be swept; {FIXED[name]}")
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{place}: no parameter of {' or '.join(SECTIONS)}; nearest is {near} (what concerns data and evaluation "
            "is varied with `dvc exp run --queue -S`)"
        )
    if not isinstance(entry, dict) or len(entry) != 1:
        raise UserError(f"{place}={entry}: must be one of {_kinds()}, such as {{loguniform: [0.1, 10]}}")
    ((kind, arguments),) = entry.items()
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.0)[0]
        raise UserError(f"{place}: {kind} is not a kind of range; nearest is {near}; known: {_kinds()}")
    if not isinstance(arguments, list) or not arguments:
        raise UserError(f"{place}={arguments}: {kind} takes {KINDS[kind]}")
    if kind in LISTS:
        return _listed(name, kind, arguments, known[name])
    return _ranged(name, kind, arguments, known[name])


def _listed(name: str, kind: str, arguments: list[Any], now: Any) -> SearchParameter:
    values: list[Value] = []
    for value in arguments:
        if isinstance(now, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(now):
            what = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(now)]
            raise UserError(f"tune.space.{name}: {value!r} is not {what}, as {name} is")
        if value in values:
            raise UserError(f"tune.space.{name}: {value!r} is listed twice")
        values.append(value)
    return SearchParameter(name=name, kind=kind, values=tuple(values))


def _ranged(name: str, kind: str, arguments: list[Any], now: Any) -> SearchParameter:
    place, shown = f"tune.space.{name}", f"{{{kind}: {arguments}}}"
    numbers = all(isinstance(a, int | float) and not isinstance(a, bool) and math.isfinite(a) for a in arguments)
    if not numbers or len(arguments) != (3 if kind == "quniform" else 2):
        raise UserError(f"{place}={shown}: {kind} takes {KINDS[kind]}")
    low, high = arguments[0], arguments[1]
    step = float(arguments[2]) if kind == "quniform" else 0.0
    if isinstance(now, bool | str):
        raise UserError(f"{place}={shown}: {name} is no number; use choice or grid")
    if isinstance(now, int) and kind not in WHOLE:
        raise UserError(f"{place}={shown}: {name} is a whole number; use randint, choice or grid")
    if isinstance(now, float) and kind in WHOLE:
        raise UserError(f"{place}={shown}: {name} is a number with a fraction; use uniform or loguniform")
    if kind in WHOLE and not (isinstance(low, int) and isinstance(high, int)):
        raise UserError(f"{place}={shown}: {kind} takes whole numbers")
    if not low < high:
        raise UserError(f"{place}={shown}: an impossible range, {low} must be below {high}")
    if kind == "loguniform" and low <= 0:
        raise UserError(f"{place}={shown}: an impossible range, a logarithm needs {low} to be above 0; try uniform")
    if kind == "lograndint" and low < 1:
        raise UserError(f"{place}={shown}: an impossible range, it starts at 1; try randint")
    if kind == "quniform" and not 0 < step <= high - low:
        raise UserError(f"{place}={shown}: an impossible step, it must be above 0 and at most {high - low}")
    return SearchParameter(name=name, kind=kind, low=float(low), high=float(high), step=step)


def ends(parameter: SearchParameter) -> tuple[Value, ...]:
    """The values at which a range is checked: all listed ones, or both limits."""
    if parameter.finite:
        return parameter.values
    if parameter.kind in WHOLE:
        return int(parameter.low), int(parameter.high)
    return parameter.low, parameter.high


def grid(parameters: list[SearchParameter]) -> list[dict[str, Value]]:
    """Every combination of the listed values, the last parameter's changing fastest. Errors: ``UserError`` for a range."""
    for parameter in parameters:
        if not parameter.finite:
            raise UserError(
                f"tune.space.{parameter.name}: {parameter.kind} has endless values; tune.search=grid needs grid or "
                "choice, or set tune.search=random"
            )
    names = [parameter.name for parameter in parameters]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(*(p.values for p in parameters))]


def draw(parameters: list[SearchParameter], *, seed: int, number: int) -> dict[str, Value]:
    """The random values of trial ``number``: ``grid`` values in turn, all others drawn with the seed (seed, number)."""
    rng = np.random.default_rng([seed, number])
    combinations = grid([p for p in parameters if p.kind == "grid"])
    cell = combinations[number % len(combinations)]
    return {p.name: cell[p.name] if p.kind == "grid" else p.draw(rng) for p in parameters}


def _kinds() -> str:
    return ", ".join(KINDS)
