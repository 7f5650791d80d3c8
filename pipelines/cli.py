"""The command `digan`: what a person asks of a trained model.

digan sample --model models:/digan-toy@champion --seed 7 --frames 16 --out clip.mp4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from digan.errors import UserError
from pipelines.errors import run_stage
from pipelines.sweeps import apply as sweep

SUFFIXES = (".mp4", ".gif", ".png")
MOST_FRAMES = 100_000
MOST_SEEDS = 4096


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are a user's mistake like any other: one line, exit code 2."""

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
    _add_sample(commands.add_parser("sample", help="write videos of given seeds as .mp4, .gif or a .png strip"))
    _add_preset(
        commands.add_parser("preset", help="put the parameters of one of the paper's runs in place as params.yaml")
    )
    from pipelines.evaluation import command

    command.add_arguments(
        commands.add_parser("evaluate", help="measure the videos of one folder against those of another")
    )
    sweep.add_commands(commands.add_parser("sweep", help="the trials of a sweep; its winner into params.yaml"))
    return parser


def _add_preset(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", nargs="?", help="which one; without it the presets are listed")
    add("--params", type=Path, default=Path("params.yaml"), help="the file to change (default: params.yaml)")
    add("--show", action="store_true", help="only show what would change")
    parser.set_defaults(command=preset_command)


def preset_command(arguments: argparse.Namespace) -> None:
    """`digan preset NAME`: values change, comments stay; what changes is printed as a diff."""
    from pipelines import preset

    if arguments.name is None:
        for name in preset.names():
            print(f"{name:16} {preset.title(name)}")
        return
    diff = preset.apply(arguments.name, arguments.params, write=not arguments.show)
    if diff:
        print(diff)
    told = "would change" if arguments.show else "is now"
    print(
        f"{arguments.params}: {told} preset {arguments.name}"
        if diff
        else f"{arguments.params}: is preset {arguments.name}"
    )


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help="folder of a generator, models:/NAME@alias or models:/NAME/3")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="one video (default: 0)")
    seeds.add_argument("--seeds", help="several, as in 1,2,3 or 0-7; side by side in a video, one a row in a strip")
    add("--frames", type=int, default=16, help="number of frames, evenly spaced from --from to --to (default: 16)")
    add("--from", type=float, default=0.0, dest="start", help="first time; training clips span 0 to 1 (default: 0)")
    add("--to", type=float, default=1.0, dest="stop", help="last time; beyond 1 it extrapolates (default: 1)")
    add("--truncation", type=float, default=1.0, help="psi: 1 is off, towards 0 more alike (default: 1)")
    add("--label", help="class, by name or number, of a class-conditional model (default: drawn by the seed)")
    add("--fps", type=float, default=8.0, help="frames a second in .mp4 and .gif (default: 8)")
    add("--scale", type=int, default=1, help="enlarge by whole pixels (default: 1)")
    add("--out", required=True, type=Path, help="clip.mp4, clip.gif or strip.png")
    parser.set_defaults(command=sample_command)


def sample_command(arguments: argparse.Namespace) -> None:
    """`digan sample`: equal arguments give equal files."""
    seeds = [arguments.seed or 0] if arguments.seeds is None else read_seeds(arguments.seeds)
    out: Path = arguments.out
    _check(arguments, seeds, out)
    from pipelines import params
    from pipelines.services.models import generator_folder

    folder = generator_folder(arguments.model, params.load_tracking())

    import torch

    from digan.checkpointing import load_generator
    from digan.sampling import sample
    from pipelines.evaluation import class_names
    from pipelines.media import write

    generator = load_generator(folder)
    times = torch.linspace(arguments.start, arguments.stop, arguments.frames)
    labels = None
    if arguments.label is not None:
        labels = [class_names.number_of(arguments.label, folder, generator.config.classes)] * len(seeds)
    videos = sample(generator, seeds=seeds, times=times, labels=labels, truncation=arguments.truncation)
    if out.suffix.lower() == ".png":
        write.write_strip(out, videos, arguments.scale)
    else:
        side_by_side = torch.cat(list(videos), dim=-1)
        writer = write.write_video if out.suffix.lower() == ".mp4" else write.write_gif
        writer(out, side_by_side, arguments.fps, scale=arguments.scale)
    print(out)


def read_seeds(text: str) -> list[int]:
    """``1,2,3`` and ``0-7`` and mixtures of them, in the order given."""
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
    """Everything that can be refused before a model is fetched."""
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out}: must end in {', '.join(SUFFIXES)}; try {out.stem or 'clip'}.mp4")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file, such as {out / 'clip.mp4'}")
    if not 1 <= arguments.frames <= MOST_FRAMES:
        raise UserError(f"--frames {arguments.frames}: must be from 1 to {MOST_FRAMES}; try 16")
    if any(seed < 0 or seed >= 2**63 for seed in seeds):
        raise UserError(f"--seed {min(seeds)}: must be from 0 to 2^63 - 1; try 7")
    if not arguments.stop >= arguments.start or abs(arguments.start) > 1e6 or abs(arguments.stop) > 1e6:
        raise UserError(f"--from {arguments.start} --to {arguments.stop}: must be times that rise; try --from 0 --to 1")
    if not 0 <= arguments.truncation <= 2:
        raise UserError(f"--truncation {arguments.truncation}: must be from 0 to 2; try 0.7")
    if not 1 <= arguments.scale <= 64:
        raise UserError(f"--scale {arguments.scale}: must be from 1 to 64; try 4")
    if not 0 < arguments.fps <= 120:
        raise UserError(f"--fps {arguments.fps}: must be above 0 and at most 120; try 8")


if __name__ == "__main__":
    main()
