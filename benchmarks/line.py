"""Runs of the stages ``ingest`` and ``train`` in a folder of their own, for benchmarks of the whole pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from digan.errors import UserError
from digan.training.loop import PROGRESS_SECONDS

ROOT = Path(__file__).resolve().parents[1]


def write_params(folder: Path, changes: dict[str, Any]) -> None:
    """Write the repository's params.yaml with other values (keys as ``training.clips``) and SQLite tracking to ``folder``."""
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for key, value in {"tracking.uri": f"sqlite:///{folder / 'mlflow.db'}", **changes}.items():
        *sections, name = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        assert name in inner, key
        inner[name] = value
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)


def stage(name: str, folder: Path) -> None:
    """Run ``python -m pipelines.NAME`` in ``folder``; exit with its output if it fails."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", f"pipelines.{name}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def too_short(option: str) -> UserError:
    """The error for a run that ended before its log had lines enough."""
    return UserError(
        f"{option}: the run is too short for its log, which has a line every {PROGRESS_SECONDS:g} s; raise {option}"
    )


def seconds_a_clip(folder: Path, clips: tuple[int, int]) -> float:
    """Wall time per clip between two counts of clips seen, from a run's log; checkpoints and waiting are included."""
    log = [json.loads(line) for line in (folder / "outputs/train/log.jsonl").read_text().splitlines()]
    inside = [point for point in log if clips[0] <= point["clips_seen"] <= clips[1]]
    if len(inside) < 2:
        raise too_short("--updates")
    first, last = inside[0], inside[-1]
    return (last["seconds"] - first["seconds"]) / (last["clips_seen"] - first["clips_seen"])
