"""Stage `register`: register the trained generator in MLflow; the best version has the alias `champion`.

Weights that are already registered get no second version: theirs gets the new values, and its alias is decided again.
Under `dvc exp run` no version is added unless ``registry.experiments`` is true; the result says what it would become.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from digan.atomic import check_files_writable, write_json
from digan.errors import UserError
from pipelines import params
from pipelines.arguments import stage_parser
from pipelines.evaluation.result import EvaluationResult
from pipelines.exit_status import run_stage
from pipelines.registry.alias_decision import AliasRule
from pipelines.registry.model_card import model_card
from pipelines.registry.versions import RegistrationRequest, RegistrationResult, decide, publish
from pipelines.sources.made_with import check_shards_if_present
from pipelines.tracking.run_contents import how_to_open
from pipelines.tracking.runs import experiment_of, read_run_id
from pipelines.training_run.provenance import experiment_name
from pipelines.training_run.run_fingerprint import weights_digest

READS = "params.yaml (registry, tracking), metrics/evaluation.json, outputs/evaluation/generator, outputs/train"
WRITES = "outputs/register, a version in the MLflow registry (under `dvc exp run` only with registry.experiments: true)"
SHARDS = Path("outputs/shards")
METRICS = Path("metrics/evaluation.json")
GENERATOR = Path("outputs/evaluation/generator")  # the best snapshot, which was evaluated
INDEX = Path("outputs/train/index.json")
RUN_FILE = Path("outputs/train/run.json")
RESULT = Path("outputs/register/result.json")
PROTOCOL = "{protocol_text}, truncation {truncation}, seed {seed}"  # must be equal for a comparison
SOURCE = {"source": str(METRICS), "remedy": "run `dvc repro evaluate`"}  # for errors


def main(argv: Sequence[str] = ()) -> None:
    """Register the evaluated generator, write and print the result."""
    stage_parser("register", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    config = params.load()
    check_files_writable(RESULT)
    check_shards_if_present(SHARDS, config.as_dict())
    evaluation = EvaluationResult.read(METRICS, **SOURCE)
    measured = evaluation.value(PROTOCOL, **SOURCE)
    try:
        digest = weights_digest(GENERATOR)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; run `dvc repro evaluate` first") from None
    run_id = read_run_id(RUN_FILE)
    if run_id is None:
        raise UserError(f"{RUN_FILE}: missing, or holds no run id; run `dvc repro train` first")
    index = json.loads(INDEX.read_text()) if INDEX.is_file() else {}
    name = config.registry.model
    request = RegistrationRequest(
        name=name,
        generator=GENERATOR,
        resolution=config.clips.resolution,
        weights_digest=digest,
        measured=measured,
        rule=AliasRule(margin=config.registry.margin, max_ratio=config.registry.max_ratio),
        run_id=run_id,
        figures=evaluation.figures(),
        clips_seen=evaluation.clips_seen or 0,
        card=model_card(name, evaluation.to_json(), evaluation.markdown(), index, config.as_dict(), digest),
    )
    experiment = None if config.registry.experiments else experiment_name()
    result = (decide if experiment else publish)(config.tracking, request)
    value = {"metric": measured.metric, "value": measured.value, "data_digest": measured.data}
    digests = {"detector_digest": measured.detector, "weights_digest": digest}
    write_json(RESULT, {**asdict(result), **value, **digests})
    print(_line(result, experiment))
    page = how_to_open(config.tracking, experiment_of(config.tracking, result.run_id))
    print(f"MLflow: {page}", flush=True)


def _line(result: RegistrationResult, experiment: str | None) -> str:
    """Return what the stage prints at its end."""
    if experiment:
        how = f"to register it, run `dvc exp apply {experiment}` and `dvc repro --force --single-item register`"
        state = f"not registered, since this is an experiment ({experiment}) and registry.experiments is false"
        return f"{state}: would be {result.model}@{result.alias}: {result.reason}; {how}"
    state = "registered" if result.created else "already registered"
    return f"{state}: models:/{result.model}/{result.version} as @{result.alias}: {result.reason}"


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
