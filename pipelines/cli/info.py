"""`digan info MODEL`: the size and the classes of a model."""

from __future__ import annotations

import argparse
import sys

from pipelines.arguments import run_command
from pipelines.report.text_format import grouped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="folder of a generator, models:/NAME@alias or models:/NAME/3")
    parser.set_defaults(command=info_command)


def info_command(arguments: argparse.Namespace) -> None:
    """Run `digan info`."""
    from digan import class_names
    from digan.generator_io import load_generator
    from pipelines import params
    from pipelines.registry.model_address import generator_folder
    from pipelines.training_run.run_fingerprint import weights_digest

    folder = generator_folder(arguments.model, params.load_tracking())
    generator = load_generator(folder)
    size, classes = generator.config.resolution, generator.config.classes
    names = class_names.read(folder, classes) or ["(no name)"] * classes
    print(f"folder:     {folder}")
    print(f"resolution: {size}x{size}")
    print(f"parameters: {grouped(sum(weights.numel() for weights in generator.parameters()))}")
    print(f"weights:    {weights_digest(folder)}")
    print(f"classes:    {classes or 'none'}")
    for number, name in enumerate(names):
        print(f"  {number:>4} {name}")


if __name__ == "__main__":
    run_command("cli.info", __doc__, add_arguments, sys.argv[1:])
