"""Concurrent registrations leave one champion, the best version."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.registry import versions
from pipelines.registry.alias_decision import CHAMPION, AliasRule, MetricValue
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig

RULE = AliasRule(margin=1.0, max_ratio=10.0)


def measured(value: float) -> MetricValue:
    return MetricValue(
        metric="frechet_x", value=value, spread=0.01, data="d", detector="t", protocol="p", real_vs_real=1.0
    )


@pytest.mark.parametrize("values", [(5.0, 4.0), (4.0, 5.0), (6.0, 3.0, 5.0, 4.0)])
def test_best_of_concurrent_versions_becomes_champion(values: tuple[float, ...], store: Path) -> None:
    config = runs.resolved(TrackingConfig(uri="", experiment="race"), store)
    mlflow = runs.client(config)
    name = f"race-{'-'.join(map(str, values))}".replace(".", "_")
    mlflow.create_registered_model(name)
    numbers = [
        str(mlflow.create_model_version(name, source=str(store), tags=measured(value).tags()).version)
        for value in values
    ]
    start = threading.Barrier(len(values))

    def one(version: str, value: float) -> str:
        start.wait()
        return versions._settle_alias(mlflow, name, version, measured(value), RULE).alias

    with ThreadPoolExecutor(len(values)) as pool:
        aliases = list(pool.map(one, numbers, values))
    best = numbers[values.index(min(values))]
    assert str(mlflow.get_registered_model(name).aliases[CHAMPION]) == best
    assert aliases[values.index(min(values))] == CHAMPION


def test_alias_set_from_an_outdated_view_is_corrected(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worse version reads 'no champion' and sets the alias after the better one has finished."""
    config = runs.resolved(TrackingConfig(uri="", experiment="race"), store)
    mlflow = runs.client(config)
    mlflow.create_registered_model("race-stale")
    worse = str(mlflow.create_model_version("race-stale", source=str(store), tags=measured(5.0).tags()).version)
    original = versions._contenders

    def late(client: object, name: str, version: str, base: str | None) -> dict[str, MetricValue]:
        found = original(client, name, version, base)
        monkeypatch.setattr(versions, "_contenders", original)
        better = mlflow.create_model_version("race-stale", source=str(store), tags=measured(4.0).tags()).version
        assert versions._settle_alias(mlflow, "race-stale", str(better), measured(4.0), RULE).alias == CHAMPION
        return found

    monkeypatch.setattr(versions, "_contenders", late)
    versions._settle_alias(mlflow, "race-stale", worse, measured(5.0), RULE)
    assert int(mlflow.get_registered_model("race-stale").aliases[CHAMPION]) == int(worse) + 1


def test_champion_chosen_by_hand_is_not_replaced_by_an_older_better_version(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = runs.resolved(TrackingConfig(uri="", experiment="race"), store)
    mlflow = runs.client(config)
    mlflow.create_registered_model("race-hand")

    def version(value: float) -> str:
        tags = {**measured(value).tags(), versions.DECIDED_TAG: "1000.0"}  # decided long ago
        return str(mlflow.create_model_version("race-hand", source=str(store), tags=tags).version)

    chosen, _better = version(9.0), version(1.0)
    mlflow.set_registered_model_alias("race-hand", CHAMPION, chosen)
    versions._settle_alias(mlflow, "race-hand", version(10.0), measured(10.0), RULE)
    assert str(mlflow.get_registered_model("race-hand").aliases[CHAMPION]) == chosen
