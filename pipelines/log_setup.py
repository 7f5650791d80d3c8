"""Logging to stderr: one line per message with time, level and, in a worker, its rank. Credentials are hidden.

Progress and results are printed on stdout; everything else uses ``logging.getLogger(__name__)``.
"""

from __future__ import annotations

import logging
import sys

from digan.redaction import redacted

PACKAGES = ("digan", "pipelines")
HANDLER = "digan-stderr"


class StderrHandler(logging.Handler):
    """Writes to the current ``sys.stderr``, which a live progress display redirects."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            sys.stderr.write(redacted(self.format(record)) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def configure(*, rank: int | None = None, level: int = logging.INFO) -> None:
    """Show this project's log records of at least ``level``, with the ``rank`` of a training worker.

    Loggers of libraries keep their settings. A second call replaces the first.
    """
    handler = StderrHandler()
    handler.set_name(HANDLER)
    worker = "" if rank is None else f"[rank {rank}] "
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {worker}%(name)s: %(message)s", "%H:%M:%S"))
    for package in PACKAGES:
        logger = logging.getLogger(package)
        for old in [each for each in logger.handlers if each.get_name() == HANDLER]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = rank is None  # the root handler of Ray's workers would repeat each line
