"""What a worker's error means: a mistake of the user, the loss of a peer, device or connection, or a bug."""

from __future__ import annotations

import errno
import traceback

import torch
from torch.distributed import DistError

from pipelines.exit_status import text_of
from pipelines.training_run.worker_messages import WorkerFailed

COLLECTIVES = "torch.distributed.distributed_c10d"  # what calls from torch.distributed go through
PROGRAM_ERRORS = {1, 98, 209, 700, 710}  # of CUDA: invalid value or function, no kernel, illegal address, assertion
LOST_ROUTE = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ESTALE}


def failure_of(error: Exception, rank: int) -> WorkerFailed:
    """The message about an error: ``loss`` where a restart may help; every other one ends the training at once."""
    if (mistake := text_of(error)) is not None:
        return WorkerFailed(kind="mistake", rank=rank, text=mistake)
    if _is_loss(error):
        text = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
        return WorkerFailed(kind="loss", rank=rank, text=text)
    return WorkerFailed(kind="bug", rank=rank, text="".join(traceback.format_exception(error)))


def _is_loss(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in LOST_ROUTE
    if isinstance(error, getattr(torch, "AcceleratorError", ())):  # torch 2.8 and later
        return getattr(error, "error_code", None) not in PROGRAM_ERRORS
    # gloo raises plain RuntimeErrors. Where a tensor of one worker has another size, it ends the process.
    modules = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    return isinstance(error, RuntimeError) and (isinstance(error, DistError) or COLLECTIVES in modules)
