"""The Ray cluster that training runs on: a private one on this machine, or an existing one."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digan.errors import UserError

SOCKET_FOLDER = "digan-ray-"  # sockets lie below /tmp/digan-ray-PID-XXXX: a Unix socket's path has 107 bytes at most
OBJECT_STORE_BYTES = 100 * 2**20  # only sample pictures pass through it; 100 MB lie in /dev/shm while the cluster lives
STORAGE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+/\S+")
ADDRESS = re.compile(r"auto|(ray://)?[^\s/:]+:\d+")

# What Ray reads from the environment, for as long as the cluster is in use. Values that the user has set stay.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # on a busy machine workers take a minute to import torch (Ray: 60)
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers stay in the folder where the driver runs
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` does not send an environment of its own
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray does not warn of this change in every process
}
# What a training worker on a CPU starts with: it trains in a thread, whose tensors shall lie in the one heap that keeps its
# memory (digan.training.numerics.keep_freed_memory).
CPU_WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
# With a number of workers that may change: after a machine is lost Ray asks once more for as many as before, and for so long.
ELASTIC_ENVIRONMENT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60"}
CODE_SENT = "DIGAN_CODE_SENT"  # in Ray's runtime environment: this project's driver has sent the code, not a Ray job
CHECKOUT = Path(__file__).resolve().parents[2]
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
# A private cluster has no dashboard. Ray Train watches a training's driver through whatever dashboard it finds; that of another
# cluster on this machine does not know the driver, and Ray Train would take the workers' resources away.
PRIVATE_ENVIRONMENT = {"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9"}  # nothing answers there
# Set in the driver, these would make every worker slower to start.
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME")


class ClusterAddressError(UserError):
    """No Ray cluster is at ``cluster.address``; ``reason`` leaves out the key and the remedy."""

    def __init__(self, address: str, reason: str, remedy: str) -> None:
        super().__init__(f"cluster.address={address}: {reason}; {remedy}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """The section ``cluster`` of params.yaml.

    ``address`` is empty (``$RAY_ADDRESS``, else a private cluster on this machine), ``auto``, ``host:port`` or ``ray://host:port``;
    ``gpus_per_worker`` is 0 (CPU and gloo) or 1 (NCCL); ``max_failures`` counts restarts after lost workers. With ``min_workers``
    from 1 to below ``workers`` the number follows what the cluster has. ``storage`` is empty or the s3:// prefix of this run.
    """

    address: str
    workers: int
    min_workers: int
    cpus_per_worker: int
    gpus_per_worker: int
    max_failures: int
    storage: str

    def __post_init__(self) -> None:
        if self.address and not ADDRESS.fullmatch(self.address):
            remedy = 'try "" for this machine, auto, or ray://host:10001'
            raise ClusterAddressError(self.address, "is no address of a Ray cluster", remedy)
        for name in ("workers", "cpus_per_worker"):
            if getattr(self, name) < 1:
                raise UserError(f"cluster.{name}={getattr(self, name)}: must be at least 1")
        if not 0 <= self.min_workers <= self.workers:
            raise UserError(
                f"cluster.min_workers={self.min_workers}: must be from 1 to cluster.workers={self.workers}, "
                "or 0 for a fixed number"
            )
        if self.storage and not STORAGE.fullmatch(self.storage):
            raise UserError(
                f"cluster.storage={self.storage}: must be empty or s3://bucket/prefix; try s3://digan/run-1"
            )
        if self.gpus_per_worker not in (0, 1):
            raise UserError(
                f"cluster.gpus_per_worker={self.gpus_per_worker}: must be 0 (CPU) or 1; a worker drives one GPU, "
                "so raise cluster.workers to use more"
            )
        if self.max_failures < 0:
            raise UserError(f"cluster.max_failures={self.max_failures}: must be 0 or more; try 3")

    @property
    def elastic(self) -> bool:
        """Whether the number of workers may change while it trains."""
        return 0 < self.min_workers < self.workers

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What Ray reserves for one worker."""
        gpus = {"GPU": float(self.gpus_per_worker)} if self.gpus_per_worker else {}
        return {"CPU": float(self.cpus_per_worker), **gpus}

    @property
    def worker_environment(self) -> dict[str, str]:
        """What a worker's process starts with. Values that the user has set stay."""
        wanted = {} if self.gpus_per_worker else CPU_WORKER_ENVIRONMENT
        return {name: os.environ.get(name, value) for name, value in wanted.items()}

    @property
    def backend(self) -> str:
        """torch.distributed's backend."""
        return "nccl" if self.gpus_per_worker else "gloo"


@contextmanager
def connect(config: ClusterConfig, *, environment: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Connect to the configured Ray cluster; the value is a folder for Ray's own files, removed when the block ends.

    ``environment`` holds further variables for as long as the cluster is in use.
    A connection that is already open (a test's, a sweep's) is used and left open. Errors: ``UserError`` where there is no
    cluster at the address or it can never place the workers.
    """
    import ray

    address = config.address or os.environ.get("RAY_ADDRESS", "")
    wanted = {**ENVIRONMENT, **(ELASTIC_ENVIRONMENT if config.elastic else {}), **(environment or {})}
    with _environment(wanted, {} if address else PRIVATE_ENVIRONMENT), _scratch() as folder:
        if ray.is_initialized():
            _check_capacity(config, ray.cluster_resources(), "the cluster in use")
            yield folder
            return
        try:
            with _own_signals():
                if address:
                    _join(address)
                    _check_capacity(config, ray.cluster_resources(), f"the cluster at {address}")
                else:
                    _start(config, folder)
            yield folder
        finally:
            ray.shutdown()


def _start(config: ClusterConfig, folder: Path) -> None:
    """Start a private cluster on this machine."""
    import ray

    here: dict[str, float] = {"CPU": config.workers * config.cpus_per_worker, "GPU": _gpus_here()}
    _check_capacity(config, here, "this machine")
    ray.init(
        address="local",
        num_cpus=int(here["CPU"]),
        num_gpus=min(config.workers * config.gpus_per_worker, int(here["GPU"])),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
        **QUIET,
    )


def _join(address: str) -> None:
    """Connect to the cluster at ``address``, with this project's code where its machines do not have it.

    A Ray job has brought the code: Ray gives its driver's connection the job's runtime environment, and refuses a second one.
    """
    import ray

    code = _code()
    try:
        _knock(address)
        if not address.startswith("ray://"):
            ray.init(address=address, **QUIET)
            if code is None or ray.get_runtime_context().runtime_env.get("working_dir"):
                return
            ray.shutdown()
        ray.init(address=address, runtime_env=code, **QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        remedy = 'start one with `ray start --head`, or set cluster.address="" to train on this machine alone'
        raise ClusterAddressError(address, f"no Ray cluster answers there ({cause})", remedy) from error


def job_folder() -> Path | None:
    """The folder that Ray deletes with the job in which this process runs; ``None`` outside of a job with a working directory."""
    import ray

    environment = ray.get_runtime_context().runtime_env
    if not environment.get("working_dir") or CODE_SENT in environment.get("env_vars", {}):
        return None
    return CHECKOUT if _is_checkout() else Path.cwd()


def _is_checkout() -> bool:
    """Whether this code runs from a checkout; otherwise it is installed."""
    return (CHECKOUT / "params.yaml").exists()


def _code() -> dict[str, Any] | None:
    """The runtime environment with the project's code and without data; ``None`` where it is installed."""
    if not _is_checkout():
        return None
    others = sorted(path.name for path in CHECKOUT.iterdir() if path.name not in ("digan", "pipelines"))
    return {
        "working_dir": str(CHECKOUT),
        "excludes": [f"/{name}" for name in others],
        "env_vars": {CODE_SENT: "1"},
    }


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore this process's handler of SIGTERM at the end: Ray sets one while it starts, which exits with 15 and no message."""
    import signal
    import threading

    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Raise ``OSError`` where nothing listens: Ray itself would retry for many minutes."""
    import socket

    host, _, port = address.removeprefix("ray://").partition(":")
    if port:
        socket.create_connection((host, int(port)), timeout=10).close()


def _check_capacity(config: ClusterConfig, found: dict[str, float], where: str) -> None:
    """Refuse a request that Ray would wait for forever."""
    if config.elastic:
        config = replace(config, workers=config.min_workers)
    for kind, each, key in (("CPU", config.cpus_per_worker, "cpus"), ("GPU", config.gpus_per_worker, "gpus")):
        has = int(found.get(kind, 0))
        if config.workers * each > has:
            fits = has // each
            remedy = f"try cluster.workers={fits}" if fits else f"try cluster.{key}_per_worker={has}"
            raise UserError(
                f"cluster.workers={config.workers}: with cluster.{key}_per_worker={each} needs {config.workers * each} "
                f"{kind}s, and {where} has {has}; {remedy}"
            )


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()


@contextmanager
def _environment(wanted: dict[str, str], forced: Mapping[str, str] | None = None) -> Iterator[None]:
    """Set the variables that Ray reads and passes on, ``wanted`` unless the user has set them; restored at the end."""
    forced = forced or {}
    before = {name: os.environ.get(name) for name in (*wanted, *forced, *UNWANTED)}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    os.environ.update(forced)
    for name in UNWANTED:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private folder with a short path. Folders that killed drivers have left behind are removed first."""
    parent = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    for old in parent.glob(f"{SOCKET_FOLDER}*"):
        pid = old.name.removeprefix(SOCKET_FOLDER).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists() and old.owner() == _me():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SOCKET_FOLDER}{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _me() -> str:
    import getpass

    return getpass.getuser()
