"""`make showcase`: all stages with the preset `showcase`, in outputs/showcase. `python -m pipelines.cli.showcase`

The results of the demo stay. Each stage resumes from an earlier run; the MLflow store is the project's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import check_writable, write_text
from pipelines.arguments import stage_parser
from pipelines.cli import preset
from pipelines.exit_status import run_stage
from pipelines.tracking.sqlite_address import address_of
from pipelines.tracking.store import DEFAULT_STORE

READS = "the preset showcase; earlier results in outputs/showcase, from which it resumes"
WRITES = "outputs/showcase, mlflow.db (or the store that MLFLOW_TRACKING_URI names)"
MODULES = ("ingest", "reference", "train", "evaluate", "register", "cli.summary")
FOLDER = Path("outputs/showcase")


def main(argv: Sequence[str] = ()) -> None:
    """Run the stages in order; exit with the code of the first one that fails."""
    stage_parser("cli.showcase", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    project = Path.cwd()
    check_writable(FOLDER)
    write_text(FOLDER / "params.yaml", preset.text("showcase"))
    environment = {"MLFLOW_TRACKING_URI": address_of(project / DEFAULT_STORE), **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), environment.get("PYTHONPATH")]))
    for module in MODULES:
        start = time.monotonic()
        options = ["--base", str(project)] if module == "cli.summary" else []
        command = [sys.executable, "-m", f"pipelines.{module}", *options]
        code = subprocess.run(command, cwd=FOLDER, env=environment).returncode
        if code:
            sys.exit(code)
        print(f"showcase: {module.removeprefix('cli.')} took {time.monotonic() - start:.0f} s", flush=True)
    print(f"showcase: results are in {FOLDER}", flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
