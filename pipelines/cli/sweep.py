"""`digan sweep show` prints the trials of a sweep; `digan sweep apply` writes the best one into params.yaml."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path

from digan.atomic import check_files_writable, write_bytes
from digan.errors import UserError
from pipelines.arguments import run_command
from pipelines.params_file import set_values
from pipelines.storage.file_io import local
from pipelines.sweeps.sweep_state import SWEEP, SweepState, TrialRecord, best_of

OUTPUT = Path("outputs/tune")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands `show` and `apply`."""
    parser.set_defaults(command=lambda _: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    apply = commands.add_parser("apply", help="show a diff and write the best trial's parameters into params.yaml")
    apply.add_argument("--trial", type=int, help="number of another trial")
    apply.add_argument("--params", type=local, default=Path("params.yaml"), help="the file (default: params.yaml)")
    apply.add_argument("--yes", action="store_true", help="write without confirmation")
    apply.set_defaults(command=apply_command)
    show = commands.add_parser("show", help="show the table of trials")
    show.set_defaults(command=show_command)
    for command in (apply, show):
        command.add_argument("--sweep", type=local, default=OUTPUT, help=f"folder of the sweep (default: {OUTPUT})")


def show_command(arguments: argparse.Namespace) -> None:
    """Print the table of trials that a running sweep shows."""
    from rich.console import Console

    from pipelines import params
    from pipelines.sweeps import space
    from pipelines.sweeps.terminal_table import SweepDisplay

    state = _state(arguments.sweep)
    settings = json.loads((arguments.sweep / SWEEP).read_text())["settings"]
    parameters = space.parse(settings["tune"]["space"], params.load().as_dict())
    length = settings["tune"]["clips"] or settings["training"]["clips"]
    total = max(len(state.trials), settings["tune"]["trials"])
    Console().print(SweepDisplay(state, parameters, "metric", length, total).table())


def apply_command(arguments: argparse.Namespace) -> None:
    """Show the diff, ask for confirmation and write."""
    path: Path = arguments.params
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the folder that has it")
    check_files_writable(path)
    trial = _chosen(_state(arguments.sweep), arguments.trial, arguments.sweep)
    before = path.read_text(encoding="utf-8")
    after = set_values(before, trial.values, path)
    last = f", {trial.last.value:.4g} at {trial.last.clips_seen} clips" if trial.last else ""
    print(f"trial {trial.number:03d} ({trial.state}{last}) of {arguments.sweep}")
    if trial.adoptions:
        print("population-based training changed its parameters; these are the last ones")
    if after == before:
        print(f"{path}: already has these values")
        return
    print("".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), str(path), n=1)))
    question = "write these into the file? [y/N] "
    if not arguments.yes and not (sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")):
        print(f"{path}: not changed (--yes writes without confirmation)")
        return
    write_bytes(path, after.encode())
    print(f"{path}: written")


def _state(folder: Path) -> SweepState:
    if not (folder / SWEEP).is_file():
        raise UserError(f"{folder}: holds no sweep; run python -m pipelines.tune, or pass its folder with --sweep")
    return SweepState(folder)


def _chosen(state: SweepState, number: int | None, folder: Path) -> TrialRecord:
    if trial := best_of(state.launched()) if number is None else state.trials.get(number):
        return trial
    if number is None:
        raise UserError(f"{folder}: no trial has been measured yet")
    raise UserError(f"--trial {number}: {folder} has the trials 0 to {max(state.trials, default=0)}")


if __name__ == "__main__":
    run_command("cli.sweep", __doc__, add_commands, sys.argv[1:])
