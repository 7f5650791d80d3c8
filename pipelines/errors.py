"""How a program of the line ends: a user's mistake is one line on stderr, a bug keeps its traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from digan.errors import UserError

MISTAKE = 2
INTERRUPTED = 130

_REMEDIES = {
    errno.EACCES: "no permission: make the place writable, or choose another one",
    errno.EPERM: "not permitted: make the place writable, or choose another one",
    errno.EROFS: "the file system is read-only: make it writable, or choose another place",
    errno.ENOSPC: "no space left on the device: free some, or choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed: move it, or choose another place",
    errno.EEXIST: "a file stands where a folder is needed: move it, or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another place",
}


def run_stage(stage: Callable[[], None]) -> None:
    """Run ``stage`` and leave the process with 0 (returns), 2 (a user's mistake or an unusable disk) or 130 (Ctrl-C).

    Every other exception is a bug: it passes through with its traceback (exit code 1).
    """
    try:
        stage()
    except UserError as error:
        _leave(f"error: {_one_line(error)}", MISTAKE)
    except KeyboardInterrupt:
        _leave("interrupted; the same command goes on from what is kept", INTERRUPTED)
    except OSError as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        place = error.filename or error.filename2 or "output"
        _leave(f"error: {place}: {remedy}", MISTAKE)


def remedy_of(error: OSError) -> str | None:
    """What a person can do about this error of the operating system, or ``None`` where it is more likely a bug."""
    if error.errno is None:
        return None
    return _REMEDIES.get(error.errno)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _leave(line: str, code: int) -> None:
    print(line, file=sys.stderr, flush=True)
    sys.exit(code)
