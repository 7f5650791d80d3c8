"""Stage `register`: the trained generator becomes a version of the registered model, and `champion` if it is the better
one.

The rule stands in ``services/gate.py``. The same weights never make a second version: the one that is there gets the
newest figures and is judged again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digan.atomic import write_bytes
from digan.errors import UserError
from pipelines import params
from pipelines.errors import run_stage
from pipelines.services.card import model_card
from pipelines.services.gate import Figure
from pipelines.services.origin import weights_digest
from pipelines.services.registry import publish

METRICS = Path("metrics/evaluation.json")
GENERATOR = Path("outputs/evaluation/generator")  # the best snapshot, which the figures are of
INDEX = Path("outputs/train/index.json")
RUN_FILE = Path("outputs/train/run.json")
RESULT = Path("outputs/register/result.json")


def read_json(path: Path, stage: str) -> Any:
    """The content of a file that ``stage`` has written."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `dvc repro {stage}` first") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); run `dvc repro -f {stage}`") from None


def read_figure(path: Path) -> Figure:
    """The figure to judge by, from the metrics file of the stage `evaluate`."""
    content = read_json(path, "evaluate")
    protocol = "{protocol_text}, truncation {truncation}, seed {seed}"
    return Figure.read(content, protocol, place=str(path), remedy="run `dvc repro -f evaluate`")


def main(argv: Sequence[str] | None = None) -> None:
    """Read params.yaml and the figures, register, write and print the result."""
    config = params.load()
    figure = read_figure(METRICS)
    run_id = str(read_json(RUN_FILE, "train")["run_id"])
    try:
        digest = weights_digest(GENERATOR)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; run `dvc repro evaluate` first") from None
    index = json.loads(INDEX.read_text()) if INDEX.is_file() else {}
    published = publish(
        config.tracking,
        name=config.registry.model,
        generator=GENERATOR,
        resolution=config.clips.resolution,
        weights_digest=digest,
        figure=figure,
        run_id=run_id,
        margin=config.registry.margin,
        card=model_card(config.registry.model, read_json(METRICS, "evaluate"), index, config.as_dict(), digest),
    )
    write_bytes(RESULT, (json.dumps(asdict(published), indent=2) + "\n").encode())
    what = "registered" if published.created else "already registered"
    print(
        f"{what}: models:/{published.model}/{published.version} as @{published.alias}: {published.reason}", flush=True
    )


if __name__ == "__main__":
    run_stage(main)
