"""Logging of the pipeline's programs: one line per message on stderr, with time, level and, in a worker, its rank.

Progress and results are printed on stdout; everything else goes through ``logging.getLogger(__name__)``.
"""

from __future__ import annotations

import logging
import sys

PACKAGES = ("digan", "pipelines")
HANDLER = "digan-stderr"


class StderrHandler(logging.Handler):
    """Writes to the present ``sys.stderr``, which a live progress display redirects while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def configure(*, rank: int | None = None, level: int = logging.INFO) -> None:
    """Show records of this project from ``level`` on; ``rank`` is given in a training worker and shown in every line.

    Loggers of libraries keep their own settings. A second call replaces the first.
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
        logger.propagate = rank is None  # Ray gives its workers a root handler, which would repeat each line
