"""Command-line arguments: an invalid one is a user error, and `--help` says what a program reads and writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from digan.errors import UserError, printable
from digan.system import check_home
from pipelines.exit_status import run_stage


class CommandParser(argparse.ArgumentParser):
    """Reports invalid arguments like other user errors: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")

    def parse_args(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments; all programs need a home folder for what they do next, but not for ``--help``."""
        for text in arguments[0] if arguments and arguments[0] is not None else sys.argv[1:]:
            if not text.isascii() and printable(text) != text:
                raise UserError(f"{printable(text)}: is not UTF-8; rename the file or folder")
        parsed = super().parse_args(*arguments, **options)
        check_home()
        return parsed


def stage_parser(name: str, description: str | None, *, reads: str, writes: str) -> CommandParser:
    """Return the parser of `python -m pipelines.NAME`."""
    return CommandParser(
        prog=f"python -m pipelines.{name}",
        description=description,
        epilog=f"reads:  {reads}\nwrites: {writes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_command(
    name: str,
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    argv: Sequence[str],
) -> None:
    """Run a subcommand of `digan` as the program `python -m pipelines.NAME`."""

    def run() -> None:
        parser = CommandParser(prog=f"python -m pipelines.{name}", description=description)
        add_arguments(parser)
        arguments = parser.parse_args(argv)
        arguments.command(arguments)

    run_stage(run)
