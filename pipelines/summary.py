"""The last word of `make demo`: the figure, the registered version, where to look. `python -m pipelines.summary`"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.errors import run_stage
from pipelines.evaluate import EVALUATION, METRICS, REPORT
from pipelines.evaluation.gallery import CLASSES
from pipelines.register import RESULT
from pipelines.services.tracking import TrackingConfig, resolved


def text(metrics: dict[str, Any], result: dict[str, Any], tracking: TrackingConfig, base: Path) -> str:
    """The summary's lines, for people who are in the folder ``base``."""

    def place(path: Path) -> str:
        return os.path.relpath(path, base)

    name = metrics["metric"]
    figures = metrics[name]
    address = f"models:/{result['model']}@{result['alias']}"
    gained = figures["mean"] / figures["untrained"] if figures["untrained"] else math.nan
    lines = [
        "",
        f"{name}: {figures['mean']:.4g} +- {figures['std']:.2g}, lower is better",
        f"  over                           {metrics['draws']} draws of {metrics['videos']} videos",
        *(
            [f"  95 % interval (bootstrap)      {figures['low']:.4g} to {figures['high']:.4g}"]
            if "low" in figures
            else []
        ),
        f"  real against real (the floor)  {figures['floor']:.4g}",
        f"  untrained generator            {figures['untrained']:.4g}  (the trained one is at {gained:.2g} of it)",
        f"model:   {address}, version {result['version']}: {result['reason']}",
        f"page:    {place(REPORT)}, with videos that play; open it in a browser",
        f"strip:   {place(EVALUATION / 'strip.png')}",
        *([f"classes: {place(EVALUATION / CLASSES)}"] if (EVALUATION / CLASSES).is_file() else []),
        f"video:   {place(EVALUATION / 'videos.mp4')}",
        f"more:    .venv/bin/digan sample --model {address} --seed 7 --frames 16 --scale 8 --out clip.mp4",
        f"MLflow:  {how_to_open(tracking)}",
    ]
    if name != "fvd":
        lines.append(f"{name} is a stand-in and no FVD: evaluation.detector=i3d with Kinetics weights gives that.")
    return "\n".join(lines)


def how_to_open(tracking: TrackingConfig) -> str:
    """The command or address that shows the runs."""
    uri = resolved(tracking).uri
    if uri.startswith("http"):
        return uri
    return f".venv/bin/mlflow ui --workers 1 --backend-store-uri {uri}   then http://127.0.0.1:5000"


def main(argv: Sequence[str] | None = None) -> None:
    """Read what the stages have written, and print."""
    from pipelines import params

    parser = argparse.ArgumentParser(prog="python -m pipelines.summary", description=__doc__)
    parser.add_argument("--base", type=Path, default=Path(), help="the folder from which paths are shown")
    base = parser.parse_args(argv).base
    print(text(_read(METRICS), _read(RESULT), params.load().tracking, base), flush=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `make demo` or `dvc repro` first") from None
    return content


if __name__ == "__main__":
    run_stage(main)
