"""The command `digan`: samples of a trained model, presets, comparisons of folders, sweeps.

digan sample --model models:/digan-toy@champion --seed 7 --frames 16 --out clip.mp4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from digan.errors import UserError
from pipelines.cli import sweep as sweep
from pipelines.exit_status import run_stage

SUFFIXES = (".mp4", ".gif", ".png")
MOST_FRAMES = 100_000
MOST_SEEDS = 4096


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments as any other user error: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` shows what there is")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the command `digan`."""
    run_stage(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="digan", description="Videos out of a trained DIGAN generator.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_sample(commands.add_parser("sample", help="write videos of given seeds as .mp4, .gif or a .png contact sheet"))
    _add_preset(commands.add_parser("preset", help="put the parameters of one of the paper's runs into params.yaml"))
    from pipelines.cli import evaluate

    evaluate.add_arguments(commands.add_parser("evaluate", help="compare the videos of two folders"))
    sweep.add_commands(
        commands.add_parser("sweep", help="show the trials of a sweep; put the best one into params.yaml")
    )
    return parser


def _add_preset(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", nargs="?", help="which one; without it the presets are listed")
    add("--params", type=Path, default=Path("params.yaml"), help="the file to change (default: params.yaml)")
    add("--show", action="store_true", help="only show what would change")
    parser.set_defaults(command=preset_command)


def preset_command(arguments: argparse.Namespace) -> None:
    """`digan preset NAME`: change the values of params.yaml, keep its comments, and print the diff."""
    from pipelines.cli import preset

    if arguments.name is None:
        for name in preset.names():
            print(f"{name:16} {preset.title(name)}")
        return
    diff = preset.apply(arguments.name, arguments.params, write=not arguments.show)
    if diff:
        print(diff)
    state = "is" if not diff else "would change to" if arguments.show else "is now"
    print(f"{arguments.params}: {state} preset {arguments.name}")


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help="folder of a generator, models:/NAME@alias or models:/NAME/3")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="one video (default: 0)")
    seeds.add_argument(
        "--seeds", help="several, as in 1,2,3 or 0-7; side by side in a video, one per row in a contact sheet"
    )
    add("--frames", type=int, default=16, help="number of frames, evenly spaced from --from to --to (default: 16)")
    add("--from", type=float, default=0.0, dest="start", help="first time; training clips span 0 to 1 (default: 0)")
    add("--to", type=float, default=1.0, dest="stop", help="last time; beyond 1 it extrapolates (default: 1)")
    add("--truncation", type=float, default=1.0, help="psi: 1 is off, towards 0 more alike (default: 1)")
    add("--label", help="class, by name or number, of a class-conditional model (default: drawn by the seed)")
    add("--fps", type=float, default=8.0, help="frames a second in .mp4 and .gif (default: 8)")
    add("--scale", type=int, default=1, help="enlarge by whole pixels (default: 1)")
    add("--out", required=True, type=Path, help="clip.mp4, clip.gif or sheet.png")
    parser.set_defaults(command=sample_command)


def sample_command(arguments: argparse.Namespace) -> None:
    """`digan sample`: equal arguments give equal files."""
    seeds = [arguments.seed or 0] if arguments.seeds is None else read_seeds(arguments.seeds)
    out: Path = arguments.out
    _check(arguments, seeds, out)
    from pipelines import params
    from pipelines.registry.model_address import generator_folder

    folder = generator_folder(arguments.model, params.load_tracking())

    import torch

    from digan.generator_io import load_generator
    from digan.sampling import sample
    from pipelines.evaluation import class_names
    from pipelines.video import video_writer

    generator = load_generator(folder)
    times = torch.linspace(arguments.start, arguments.stop, arguments.frames)
    labels = None
    if arguments.label is not None:
        labels = [class_names.number_of(arguments.label, folder, generator.config.classes)] * len(seeds)
    videos = sample(generator, seeds=seeds, times=times, labels=labels, truncation=arguments.truncation)
    if out.suffix.lower() == ".png":
        video_writer.write_strip(out, videos, arguments.scale)
    else:
        side_by_side = torch.cat(list(videos), dim=-1)
        writer = video_writer.write_video if out.suffix.lower() == ".mp4" else video_writer.write_gif
        writer(out, side_by_side, arguments.fps, scale=arguments.scale)
    print(out)


def read_seeds(text: str) -> list[int]:
    """The seeds that ``1,2,3``, ``0-7`` or mixtures of them name, in the order given."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise UserError(f"--seeds {text}: must be whole numbers from 0, such as 1,2,3 or 0-7") from None
        if high < low or high - low >= MOST_SEEDS:
            raise UserError(f"--seeds {text}: {part.strip()} must rise, by at most {MOST_SEEDS}; try 0-7")
        seeds.extend(range(low, high + 1))
    return seeds


def _check(arguments: argparse.Namespace, seeds: list[int], out: Path) -> None:
    """Refuse impossible arguments before a model is fetched."""
    start, stop = arguments.start, arguments.stop
    span = abs(start) <= 1e6 and abs(stop) <= 1e6 and start <= stop
    rules = (
        (out.suffix.lower() in SUFFIXES, f"out {out}", f"end in {', '.join(SUFFIXES)}; try {out.stem or 'clip'}.mp4"),
        (not out.is_dir(), f"out {out}", f"be a file, not a folder; try {out / 'clip.mp4'}"),
        (1 <= arguments.frames <= MOST_FRAMES, f"frames {arguments.frames}", f"be from 1 to {MOST_FRAMES}; try 16"),
        (min(seeds) >= 0 and max(seeds) < 2**63, f"seed {min(seeds)}", "be from 0 to 2^63 - 1; try 7"),
        (span, f"from {start} --to {stop}", "be times that rise; try --from 0 --to 1"),
        (0 <= arguments.truncation <= 2, f"truncation {arguments.truncation}", "be from 0 to 2; try 0.7"),
        (1 <= arguments.scale <= 64, f"scale {arguments.scale}", "be from 1 to 64; try 4"),
        (0 < arguments.fps <= 120, f"fps {arguments.fps}", "be above 0 and at most 120; try 8"),
    )
    for holds, argument, remedy in rules:
        if not holds:
            raise UserError(f"--{argument}: must {remedy}")


if __name__ == "__main__":
    main()
