"""Exit status of the pipeline's programs: a user error is one line on stderr, a bug keeps its traceback."""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType

from digan.errors import UserError
from digan.redaction import redacted
from pipelines import log_setup

USER_ERROR = 2
INTERRUPTED = 130

_REMEDIES = {
    errno.EACCES: "permission denied; make the path writable or choose another one",
    errno.EPERM: "operation not permitted; make the path writable or choose another one",
    errno.EROFS: "read-only file system; choose another path",
    errno.ENOSPC: "no space left on the device; free some space or choose another path",
    errno.ENOTDIR: "a file exists where a folder is needed; move it or choose another path",
    errno.EEXIST: "a file exists where a folder is needed; move it or choose another path",
    errno.EISDIR: "a folder exists where a file is needed; move it or choose another path",
    errno.ELOOP: "symbolic links lead in a circle; remove one or choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EDQUOT: "disk quota exceeded; free some space or choose another path",
}


def run_stage(stage: Callable[..., None], *arguments: Sequence[str]) -> None:
    """Set up logging and run ``stage``; exit with 2 after a user error or an unusable path, with 130 after Ctrl-C.

    Other exceptions are bugs and keep their traceback (exit code 1). Credentials are hidden in all of them.
    """
    log_setup.configure()
    sys.excepthook = _show_bug
    try:
        stage(*arguments)
    except KeyboardInterrupt:
        _exit("interrupted; run the same command again to resume", INTERRUPTED)
    except (UserError, OSError) as error:
        text = text_of(error)
        if text is None:
            raise
        _exit(f"error: {' '.join(text.split())}", USER_ERROR)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, such as from the preemption of a job, interrupt the program like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def text_of(error: Exception) -> str | None:
    """Key or path, cause and remedy of an error that the user can repair; ``None`` if it is more likely a bug."""
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return f"{error.filename or error.filename2 or 'output'}: {_REMEDIES[error.errno]}"
    return str(error) if isinstance(error, UserError) else None


def _exit(line: str, code: int) -> None:
    sys.stderr.write(redacted(line) + "\n")
    sys.exit(code)


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
