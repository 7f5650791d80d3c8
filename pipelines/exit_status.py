"""How a program of the pipeline ends: a user's mistake is one line on stderr, a bug keeps its traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from digan.errors import UserError
from pipelines import log_setup

MISTAKE = 2
INTERRUPTED = 130

_REMEDIES = {
    errno.EACCES: "no permission: make the path writable, or choose another one",
    errno.EPERM: "not permitted: make the path writable, or choose another one",
    errno.EROFS: "the file system is read-only: make it writable, or choose another path",
    errno.ENOSPC: "no space left on the device: free some, or choose another path",
    errno.ENOTDIR: "a file is in the way of a folder: move it, or choose another path",
    errno.EEXIST: "a file is in the way of a folder: move it, or choose another path",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another path",
}


def run_stage(stage: Callable[[], None]) -> None:
    """Set up logging and run ``stage``; exit with 2 after a user's mistake or an unusable disk, with 130 after Ctrl-C.

    Every other exception is a bug: it passes through with its traceback (exit code 1).
    """
    log_setup.configure()
    try:
        stage()
    except UserError as error:
        _leave(f"error: {_one_line(error)}", MISTAKE)
    except KeyboardInterrupt:
        _leave("interrupted; run the same command again to resume", INTERRUPTED)
    except OSError as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        place = error.filename or error.filename2 or "output"
        _leave(f"error: {place}: {remedy}", MISTAKE)


def remedy_of(error: OSError) -> str | None:
    """What the user can do about this error of the operating system, or ``None`` where it is more likely a bug."""
    return _REMEDIES.get(error.errno) if error.errno is not None else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _leave(line: str, code: int) -> None:
    sys.stderr.write(line + "\n")
    sys.exit(code)
