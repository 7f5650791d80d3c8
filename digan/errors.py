"""The error that users can fix; every other exception is a bug and keeps its traceback."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

from digan.redaction import redacted

LISTED = 32


class UserError(ValueError):
    """One line with key, value, problem and remedy: ``clips.resolution=48: must be a power of two ...; try 64``.

    Credentials in the line are hidden, so it may go to logs, pages and records.
    """

    def __init__(self, line: str) -> None:
        super().__init__(redacted(line))


def listed(names: Iterable[str]) -> str:
    """The names, separated by commas; of more than ``LISTED`` the first ones and how many follow."""
    every = list(names)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + more


def printable(name: str) -> str:
    """Return a file's name with bytes that are not UTF-8 written as ``\\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def suggestion(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The remedy for an unknown name: the known name that is near it, with ``prefix`` before it, else all of them."""
    names = list(known)
    by_case = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), by_case, n=1)
    return f"nearest is {prefix}{by_case[near[0]]}" if near else f"choose one of {listed(names)}"
