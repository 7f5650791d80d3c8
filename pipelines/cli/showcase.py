"""`make showcase`: the whole line with the showcase's parameters, in a folder of its own, so that the demo's results stay.

Runs ingest, reference, train, evaluate and register in outputs/showcase, each of which goes on from where it was; the MLflow store is the
project's. `python -m pipelines.cli.showcase`
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from digan.atomic import write_text
from pipelines.cli import preset
from pipelines.exit_status import run_stage

STAGES = ("ingest", "reference", "train", "evaluate", "register")
FOLDER = Path("outputs/showcase")


def main() -> None:
    """Run the stages one after the other; the first that fails ends the line with its exit code."""
    project = Path.cwd()
    write_text(FOLDER / "params.yaml", preset.text("showcase"))
    environment = dict(os.environ)
    environment.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), environment.get("PYTHONPATH")]))
    for stage in (*STAGES, "summary"):
        start = time.monotonic()
        more = ["--base", str(project)] if stage == "summary" else []
        command = [sys.executable, "-m", f"pipelines.{stage}", *more]
        code = subprocess.run(command, cwd=FOLDER, env=environment).returncode
        if code:
            sys.exit(code)
        print(f"showcase: {stage} took {time.monotonic() - start:.0f} s", flush=True)
    print(f"showcase: everything is in {FOLDER}", flush=True)


if __name__ == "__main__":
    run_stage(main)
