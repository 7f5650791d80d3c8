"""A sweep of a few seconds for tests: its params.yaml and shards, and trial records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import RUNNING, TrialMeasurement, TrialRecord
from tests.pipelines.small_run import write_params, write_shards

GAMMA = SearchParameter(name="training.r1_gamma", kind="loguniform", low=0.1, high=10.0)
AUGMENT = SearchParameter(name="training.augment", kind="choice", values=("", "color"))
LENGTH, INTERVAL = 240, 80


def write_sweep(folder: Path, space: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write shards and params.yaml of a sweep of a few seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_params(folder)
    write_shards(folder / "outputs/shards")
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    values["tune"].update({"trials": 4, "grace_period": INTERVAL, "videos": 8, "clips": LENGTH, **changes})
    if space is not None:
        values["tune"]["space"] = space
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)


def trial(number: int, *points: float, state: str = RUNNING, gamma: float = 1.0, **more: Any) -> TrialRecord:
    values = {"training.r1_gamma": gamma, "training.augment": "color" if number % 2 else ""}
    measures = tuple(
        TrialMeasurement(clips_seen=INTERVAL * (i + 1), value=v, values=values, seconds=0.5)
        for i, v in enumerate(points)
    )
    clips = INTERVAL * len(points)
    return TrialRecord(
        number=number, values=values, state=state, measures=measures, clips=clips, wall=9.0, seconds=4.0, **more
    )
