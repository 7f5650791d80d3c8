"""The summary at the end of `make demo`. `python -m pipelines.cli.summary`"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.arguments import stage_parser
from pipelines.evaluation.gallery import CLASSES
from pipelines.evaluation.outputs import FOLDER, PAGE
from pipelines.evaluation.result import EvaluationResult
from pipelines.exit_status import run_stage
from pipelines.register import METRICS, RESULT, RUN_FILE, SOURCE
from pipelines.storage.file_io import local
from pipelines.tracking.run_contents import how_to_open
from pipelines.tracking.runs import TrackingConfig, read_experiment_id

READS = "params.yaml (tracking), metrics/evaluation.json, outputs/register/result.json"
WRITES = "nothing"


def text(evaluation: EvaluationResult, registered: dict[str, Any], tracking: TrackingConfig, base: Path) -> str:
    """Return the summary, with paths relative to the folder ``base``."""
    address = f"models:/{registered['model']}@{registered['alias']}"
    version, model = f"version {registered['version']}", address
    if registered["version"] is None:  # an experiment
        version, model = "which it would be (not registered)", str(FOLDER / "generator")
    classes = FOLDER / CLASSES
    lines = [
        "",
        evaluation.text(),
        f"model:   {address}, {version}: {registered['reason']}",
        f"page:    {os.path.relpath(PAGE, base)}, with playable videos; open it in a browser",
        f"sheet:   {os.path.relpath(FOLDER / 'strip.png', base)}",
        f"finer:   {os.path.relpath(FOLDER / 'finer.png', base)}, the same model on a finer grid",
        f"more:    {os.path.relpath(FOLDER / 'abilities.png', base)}, other times, motions and contents",
        *([f"classes: {os.path.relpath(classes, base)}"] if classes.is_file() else []),
        f"video:   {os.path.relpath(FOLDER / 'videos.mp4', base)}",
        f"sample:  .venv/bin/digan sample --model {model} --seed 7 --frames 16 --scale 8 --out clip.mp4",
        f"MLflow:  {how_to_open(tracking, read_experiment_id(RUN_FILE))}",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] = ()) -> None:
    """Print the summary of the stages' results."""
    from pipelines import params

    parser = stage_parser("cli.summary", __doc__, reads=READS, writes=WRITES)
    parser.add_argument("--base", type=local, default=Path(), help="folder that paths are relative to")
    base = parser.parse_args(argv).base
    evaluation = EvaluationResult.read(METRICS, **SOURCE)
    if not RESULT.is_file():
        raise UserError(f"{RESULT}: missing; run `dvc repro register` first")
    print(text(evaluation, json.loads(RESULT.read_text()), params.load().tracking, base), flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
