"""tune.space: errors before a sweep starts, drawn values, and equal draws for equal seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digan.errors import UserError
from pipelines import params
from pipelines.sweeps import search_algorithm, space
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_run import search_space
from pipelines.sweeps.sweep_state import FINISHED, STOPPED, TrialMeasurement, TrialRecord
from pipelines.sweeps.trial import for_trial
from tests.conftest import ROOT, WriteParams

BASE = params.load(ROOT / "params.yaml")


def rejection(write_params: WriteParams, changes: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        search_space(params.load(write_params(changes)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "entry", "parts"),
    [
        ("training.r1_gama", {"uniform": [0, 1]}, ["training.r1_gama", "nearest is training.r1_gamma"]),
        ("r1_gamma", {"uniform": [0, 1]}, ["tune.space.r1_gamma", "nearest is training.r1_gamma"]),
        ("clips.resolution", {"choice": [32, 64]}, ["clips.resolution", "dvc exp run --queue -S"]),
        ("training.clips", {"choice": [32, 64]}, ["training.clips", "tune.clips"]),
        ("training.r1_gamma", {"loguniforn": [0.1, 1]}, ["loguniforn", "nearest is loguniform"]),
        ("xyz", {"uniform": [0, 1]}, ["tune.space.xyz", "choose one of model.channel_base, "]),
        ("training.r1_gamma", {"xyz": [0.1, 1]}, ["xyz; choose one of uniform, loguniform"]),
        ("training.r1_gamma", [0.1, 1], ["training.r1_gamma", "loguniform: [0.1, 10]"]),
        ("training.r1_gamma", {"uniform": [2, 1]}, ["impossible range", "2 must be below 1"]),
        ("training.r1_gamma", {"loguniform": [0, 1]}, ["impossible range", "above 0", "try uniform"]),
        ("training.r1_gamma", {"uniform": [0.1]}, ["uniform takes [low, high]"]),
        ("training.r1_gamma", {"uniform": ["a", "b"]}, ["uniform takes [low, high]"]),
        ("training.r1_gamma", {"uniform": [-1, 1]}, ["training.r1_gamma=-1", "must not be negative"]),
        ("training.r1_gamma", {"choice": [1, "big"]}, ["'big' is not a number"]),
        ("training.r1_gamma", {"choice": []}, ["choice takes"]),
        ("training.r1_gamma", {"choice": [1, 1.0]}, ["listed twice"]),
        ("training.r1_gamma", {"quniform": [0, 1, 2]}, ["impossible step"]),
        ("training.batch_size", {"uniform": [4, 16]}, ["whole number", "randint"]),
        ("training.batch_size", {"choice": [16, 6]}, ["training.batch_size=6", "must be a multiple"]),
        ("training.precision", {"choice": ["fp32", "fp8"]}, ["training.precision", "fp8"]),
        ("training.augment", {"choice": ["", "colour"]}, ["training.augment", "colour"]),
        ("training.horizontal_flip", {"uniform": [0, 1]}, ["not a number", "choice"]),
        ("model.channel_max", {"randint": [0, 8]}, ["model.channel_max=0"]),
    ],
)
def test_invalid_space_is_reported_in_one_line(
    write_params: WriteParams, name: str, entry: Any, parts: list[str]
) -> None:
    text = rejection(write_params, {"tune.space": {name: entry}})
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"tune.scheduler": "hyperband"}, ["tune.scheduler=hyperband", "asha"]),
        ({"tune.search": "bayes"}, ["tune.search=bayes", "optuna"]),
        ({"tune.trials": 0}, ["tune.trials=0"]),
        ({"tune.reduction_factor": 1.0}, ["tune.reduction_factor=1.0"]),
        ({"tune.gpu_share": 0.5, "tune.workers": 2}, ["tune.workers=2", "gpu_share"]),
        ({"tune.scheduler": "pbt", "tune.search": "grid"}, ["tune.search=grid", "pbt"]),
        ({"tune.search": "grid"}, ["loguniform has endless values", "tune.search=grid"]),
        ({"tune.grace_period": 10**9}, ["tune.grace_period=1000000000", "longer than a trial"]),
        ({"tune.space": {}}, ["tune.space: is empty"]),
        (
            {"tune.scheduler": "pbt", "tune.space": {"model.mapping_layers": {"choice": [1, 2]}}},
            ["model.mapping_layers", "weights"],
        ),
    ],
)
def test_invalid_settings_are_reported_in_one_line(
    write_params: WriteParams, changes: dict[str, Any], parts: list[str]
) -> None:
    text = rejection(write_params, changes)
    assert all(part in text for part in parts), text


RANGES = [
    SearchParameter(name="training.r1_gamma", kind="loguniform", low=0.1, high=10.0),
    SearchParameter(name="training.generator_lr", kind="uniform", low=0.001, high=0.01),
    SearchParameter(name="training.ema_ramp", kind="quniform", low=0.0, high=0.5, step=0.05),
    SearchParameter(name="training.r1_interval", kind="randint", low=1, high=3),
    SearchParameter(name="model.channel_max", kind="lograndint", low=4, high=64),
    SearchParameter(name="training.augment", kind="choice", values=("", "color")),
]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), number=st.integers(0, 10_000))
def test_draws_are_in_range_and_reproducible(seed: int, number: int) -> None:
    drawn = space.draw(RANGES, seed=seed, number=number)
    assert drawn == space.draw(RANGES, seed=seed, number=number)
    for parameter in RANGES:
        value = drawn[parameter.name]
        if parameter.finite:
            assert value in parameter.values
        else:
            assert isinstance(value, int | float) and parameter.low <= value <= parameter.high
            assert isinstance(value, int) == (parameter.kind in space.WHOLE)
    steps = float(drawn["training.ema_ramp"]) / 0.05
    assert abs(steps - round(steps)) < 1e-6


def test_loguniform_draws_are_uniform_in_the_logarithm() -> None:
    drawn = [float(space.draw(RANGES[:1], seed=3, number=n)["training.r1_gamma"]) for n in range(2000)]
    assert abs(np.mean(np.log10(drawn))) < 0.06  # of -1 to 1, standard error 0.013
    whole = {space.draw(RANGES[3:4], seed=0, number=n)["training.r1_interval"] for n in range(200)}
    assert whole == {1, 2, 3}


def test_grid_holds_every_combination_once() -> None:
    listed = [
        SearchParameter(name="a", kind="grid", values=(1, 2)),
        SearchParameter(name="b", kind="choice", values=("x", "y", "z")),
    ]
    rows = space.grid(listed)
    assert len(rows) == 6 and len({tuple(row.items()) for row in rows}) == 6


def test_grid_values_alternate_in_a_random_search() -> None:
    mixed = [SearchParameter(name="a", kind="grid", values=(1, 2, 3)), RANGES[0]]
    drawn = [space.draw(mixed, seed=0, number=n) for n in range(6)]
    assert [row["a"] for row in drawn] == [1, 2, 3, 1, 2, 3]
    assert len({row["training.r1_gamma"] for row in drawn}) == 6


def known(objective: Callable[[float], float], count: int) -> list[TrialRecord]:
    trials = []
    for number in range(count):
        values = space.draw(RANGES[:1], seed=0, number=number)
        value = objective(float(values["training.r1_gamma"]))
        measure = TrialMeasurement(clips_seen=100, value=value, values=values, seconds=0.1)
        state = FINISHED if number % 3 else STOPPED
        trials.append(TrialRecord(number=number, values=values, first_values=values, state=state, measures=(measure,)))
    return trials


def test_optuna_is_reproducible_and_learns(write_params: WriteParams) -> None:
    """Proposals of TPE are closer to the optimum than random ones; equal earlier trials give equal proposals."""
    config = params.load(write_params({"tune.search": "optuna"})).tune
    trials = known(lambda gamma: abs(math.log10(gamma) - 0.5), 24)
    proposed = [search_algorithm.propose(config, RANGES[:1], number, trials) for number in range(24, 34)]
    assert proposed == [search_algorithm.propose(config, RANGES[:1], number, trials) for number in range(24, 34)]
    assert len({row["training.r1_gamma"] for row in proposed}) == 10
    distance = [abs(math.log10(float(row["training.r1_gamma"])) - 0.5) for row in proposed]
    drawn = [abs(math.log10(float(t.values["training.r1_gamma"])) - 0.5) for t in trials]
    assert np.median(distance) < 0.5 * np.median(drawn)


def test_trial_values_change_only_their_parameters() -> None:
    trial = for_trial(BASE, {"training.r1_gamma": 7.5, "model.channel_max": 8})
    assert trial.training.r1_gamma == 7.5 and trial.model.channel_max == 8
    assert trial.training.checkpoint_interval == BASE.tune.grace_period
    assert trial.cluster.workers == BASE.tune.workers
    assert trial.training.seed == BASE.training.seed and trial.evaluation == BASE.evaluation
