"""The command `digan` with the subcommands sample, info, preset, init, evaluate and sweep.

Example: digan sample --model models:/digan-toy@champion --seed 7 --frames 16 --out clip.mp4
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from digan import atomic
from digan.errors import UserError
from pipelines.arguments import CommandParser
from pipelines.cli import info, init, output_size, preset, sweep
from pipelines.exit_status import run_stage
from pipelines.storage import file_io

SUFFIXES = (".mp4", ".gif", ".png")
MAX_FRAMES = 100_000
MAX_SEEDS = 4096


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the command `digan`; without a subcommand it shows the help."""

    def run() -> None:
        arguments = parser().parse_args(argv)
        arguments.command(arguments)

    run_stage(run)


def parser() -> CommandParser:
    from pipelines.cli import evaluate

    parser = CommandParser(prog="digan", description="Sample and evaluate DIGAN video generators.")
    parser.set_defaults(command=lambda _: parser.print_help())
    parser.add_argument("--version", action="version", version=f"digan {_version()}")
    add = parser.add_subparsers(title="commands", metavar="COMMAND").add_parser
    _add_sample(add("sample", help="write videos as .mp4, .gif or a .png contact sheet"))
    info.add_arguments(add("info", help="show the size and the classes of a model"))
    preset.add_arguments(add("preset", help="write the parameters of one of the paper's runs into params.yaml"))
    init.add_arguments(add("init", help="look at a folder of videos and write a params.yaml for them"))
    evaluate.add_arguments(add("evaluate", help="compare the videos of two folders"))
    sweep.add_commands(add("sweep", help="show the trials of a sweep, or write the best one into params.yaml"))
    return parser


def _version() -> str:
    try:
        return metadata.version("digan")
    except metadata.PackageNotFoundError:  # run from a copy of the code
        return "(not installed)"


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help="folder of a generator, models:/NAME@alias or models:/NAME/3")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="seed of one video (default: 0)")
    seeds.add_argument("--seeds", help="seeds such as 1,2,3 or 0-7; side by side in a video, one per row in a .png")
    add("--frames", type=int, default=16, help="number of frames, evenly spaced from --from to --to (default: 16)")
    add("--from", type=float, default=0.0, dest="start", help="first time; training clips span 0 to 1 (default: 0)")
    add(
        "--to",
        type=float,
        default=1.0,
        dest="stop",
        help="last time; extrapolates above 1, and below --from time runs backwards (default: 1)",
    )
    add("--truncation", type=float, default=1.0, help="truncation psi: 1 is off, 0 removes all variation (default: 1)")
    add("--label", help="class name, or number from 0, as `digan info` lists them (default: drawn from the seed)")
    add("--fps", type=float, default=8.0, help="frames per second of .mp4 and .gif (default: 8)")
    add("--scale", type=int, default=1, help="integer factor that enlarges the frames (default: 1)")
    add("--out", required=True, type=Path, help="output file: clip.mp4, clip.gif or sheet.png")
    parser.set_defaults(command=sample_command)


def sample_command(arguments: argparse.Namespace) -> None:
    """Run `digan sample`: the same arguments give the same file."""
    seeds = [arguments.seed or 0] if arguments.seeds is None else read_seeds(arguments.seeds)
    arguments.out = file_io.local(arguments.out)
    _check(arguments, seeds)
    atomic.check_files_writable(arguments.out)
    import torch

    from digan import class_names
    from digan.generator_io import load_generator
    from digan.sampling import sample
    from pipelines import params
    from pipelines.registry.model_address import generator_folder
    from pipelines.video import video_writer

    folder = generator_folder(arguments.model, params.load_tracking())
    generator = load_generator(folder)
    out: Path = arguments.out
    resolution, frames, scale = generator.config.resolution, arguments.frames, arguments.scale
    output_size.check(out, videos=len(seeds), frames=frames, resolution=resolution, scale=scale)
    times = torch.linspace(arguments.start, arguments.stop, arguments.frames)
    label, classes = arguments.label, generator.config.classes
    labels = None if label is None else [class_names.number_of(label, folder, classes)] * len(seeds)
    videos = sample(generator, seeds=seeds, times=times, labels=labels, truncation=arguments.truncation)
    if out.suffix.lower() == ".png":
        print(video_writer.write_contact_sheet(out, videos, arguments.scale))
    else:
        writer = video_writer.write_video if out.suffix.lower() == ".mp4" else video_writer.write_gif
        print(writer(out, torch.cat(list(videos), dim=-1), arguments.fps, scale=arguments.scale))


def read_seeds(text: str) -> list[int]:
    """Parse seeds such as ``1,2,3``, ``0-7`` or ``1,4-6``, keeping their order."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise UserError(f"--seeds {text}: must be whole numbers from 0, such as 1,2,3 or 0-7") from None
        if not 0 < len(span) <= MAX_SEEDS:
            must = f"must be an increasing range of at most {MAX_SEEDS} seeds; try 0-7"
            raise UserError(f"--seeds {text}: {part.strip()} {must}")
        seeds.extend(span)
    return seeds


def _check(arguments: argparse.Namespace, seeds: list[int]) -> None:
    """Reject invalid arguments before a model is downloaded."""
    out, start, stop = arguments.out, arguments.start, arguments.stop
    is_span = abs(start) <= 1e6 and abs(stop) <= 1e6
    rules = (
        (out.suffix.lower() in SUFFIXES, f"out {out}", f"end in {', '.join(SUFFIXES)}; try {out.stem or 'clip'}.mp4"),
        (not out.is_dir(), f"out {out}", f"be a file, not a folder; try {out / 'clip.mp4'}"),
        (1 <= arguments.frames <= MAX_FRAMES, f"frames {arguments.frames}", f"be from 1 to {MAX_FRAMES}; try 16"),
        (min(seeds) >= 0 and max(seeds) < 2**63, f"seed {min(seeds)}", "be from 0 to 2^63 - 1; try 7"),
        (is_span, f"from {start} --to {stop}", "be times from -1000000 to 1000000; try --from 0 --to 1"),
        (0 <= arguments.truncation <= 2, f"truncation {arguments.truncation}", "be from 0 to 2; try 0.7"),
        (1 <= arguments.scale <= 64, f"scale {arguments.scale}", "be from 1 to 64; try 4"),
        (0 < arguments.fps <= 120, f"fps {arguments.fps}", "be above 0 and at most 120; try 8"),
    )
    for is_met, argument, remedy in rules:
        if not is_met:
            raise UserError(f"--{argument}: must {remedy}")


if __name__ == "__main__":
    main()
