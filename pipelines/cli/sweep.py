"""`digan sweep show` and `digan sweep apply`: what a sweep found, and its winner put into params.yaml, comments and order kept."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from digan.errors import UserError
from pipelines.params_file import set_values
from pipelines.sweeps.sweep_state import SWEEP, SweepState, TrialRecord, best_of

OUTPUT = Path("outputs/tune")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """`digan sweep ...`."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=type(parser))
    apply = commands.add_parser("apply", help="write the best trial's parameters into params.yaml, the diff first")
    apply.add_argument("--trial", type=int, help="another trial than the best one")
    apply.add_argument("--params", type=Path, default=Path("params.yaml"), help="the file (default: params.yaml)")
    apply.add_argument("--yes", action="store_true", help="write without asking")
    apply.set_defaults(command=apply_command)
    show = commands.add_parser("show", help="the table of trials")
    show.set_defaults(command=show_command)
    for command in (apply, show):
        command.add_argument("--sweep", type=Path, default=OUTPUT, help=f"the sweep's folder (default: {OUTPUT})")


def show_command(arguments: argparse.Namespace) -> None:
    """The trials as the running sweep shows them."""
    from rich.console import Console

    from pipelines import params
    from pipelines.sweeps import space
    from pipelines.sweeps.terminal_table import View

    records = _records(arguments.sweep)
    settings = json.loads((arguments.sweep / SWEEP).read_text())["settings"]
    base = params.load(Path("params.yaml")).as_dict()
    parameters = space.parse(settings["tune"]["space"], base)
    length = settings["tune"]["clips"] or settings["training"]["clips"]
    view = View(records, parameters, "measure", length, max(len(records.trials), settings["tune"]["trials"]))
    Console().print(view.table())


def apply_command(arguments: argparse.Namespace) -> None:
    """Show the diff, ask, write."""
    trial = _chosen(_records(arguments.sweep), arguments.trial, arguments.sweep)
    path: Path = arguments.params
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the folder that holds it")
    before = path.read_text(encoding="utf-8")
    after = set_values(before, trial.values, path)
    last = f", {trial.last.value:.4g} at {trial.last.clips_seen} clips" if trial.last else ""
    print(f"trial {trial.number:03d} ({trial.state}{last}) of {arguments.sweep}")
    if trial.adoptions:
        print("its parameters changed on the way (population-based training); these are its last ones")
    if after == before:
        print(f"{path}: has these values already")
        return
    print("".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), str(path), n=1)))
    if not arguments.yes and not _agreed(input):
        print(f"{path}: left as it is (--yes writes without asking)")
        return
    from digan.atomic import write_bytes

    write_bytes(path, after.encode())
    print(f"{path}: written")


def _records(folder: Path) -> SweepState:
    if not (folder / SWEEP).is_file():
        raise UserError(f"{folder}: no sweep lies there; run python -m pipelines.tune, or name its folder with --sweep")
    return SweepState(folder)


def _chosen(records: SweepState, number: int | None, folder: Path) -> TrialRecord:
    if number is not None:
        if number not in records.trials:
            raise UserError(f"--trial {number}: {folder} has the trials 0 to {max(records.trials, default=0)}")
        return records.trials[number]
    best = best_of(records.begun())
    if best is None:
        raise UserError(f"{folder}: no trial has been measured yet")
    return best


def _agreed(ask: Callable[[str], str]) -> bool:
    if not sys.stdin.isatty():
        return False
    return ask("write these into the file? [y/N] ").strip().lower() in ("y", "yes")
