"""Stage `register`: make the trained generator a version of the registered model, `champion` if it is the better one.

``services/gate.py`` decides. Weights that are registered already get no second version; their version gets the newest
figures and is decided again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from digan.errors import UserError
from pipelines import params
from pipelines.evaluation.result import EvaluationResult
from pipelines.exit_status import run_stage
from pipelines.registry.alias_decision import MetricValue
from pipelines.registry.model_card import model_card
from pipelines.registry.versions import RegistrationRequest, publish
from pipelines.training_run.run_fingerprint import weights_digest

METRICS = Path("metrics/evaluation.json")
GENERATOR = Path("outputs/evaluation/generator")  # the best snapshot, which the figures are of
INDEX = Path("outputs/train/index.json")
RUN_FILE = Path("outputs/train/run.json")
RESULT = Path("outputs/register/result.json")
PROTOCOL = "{protocol_text}, truncation {truncation}, seed {seed}"  # what two figures must have in common
REMEDY = "run `dvc repro -f evaluate`"


def read_json(path: Path, stage: str) -> Any:
    """Return the content of a file that ``stage`` writes."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `dvc repro {stage}` first") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); run `dvc repro -f {stage}`") from None


def read_evaluation(path: Path) -> tuple[EvaluationResult, MetricValue]:
    """Return the result in the metrics file of the stage `evaluate`, and the value in it that decides."""
    evaluation = EvaluationResult.from_json(read_json(path, "evaluate"), place=str(path), remedy=REMEDY)
    return evaluation, evaluation.figure(PROTOCOL, place=str(path), remedy=REMEDY)


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml and the figures, register the generator, write and print the result."""
    config = params.load()
    evaluation, figure = read_evaluation(METRICS)
    try:
        digest = weights_digest(GENERATOR)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; run `dvc repro evaluate` first") from None
    index = json.loads(INDEX.read_text()) if INDEX.is_file() else {}
    name = config.registry.model
    request = RegistrationRequest(
        name=name,
        generator=GENERATOR,
        resolution=config.clips.resolution,
        weights_digest=digest,
        figure=figure,
        margin=config.registry.margin,
        run_id=str(read_json(RUN_FILE, "train")["run_id"]),
        card=model_card(name, evaluation.to_json(), evaluation.markdown(), index, config.as_dict(), digest),
    )
    result = publish(config.tracking, request)
    write_json(RESULT, asdict(result))
    what = "registered" if result.created else "already registered"
    print(f"{what}: models:/{result.model}/{result.version} as @{result.alias}: {result.reason}", flush=True)


if __name__ == "__main__":
    run_stage(main)
