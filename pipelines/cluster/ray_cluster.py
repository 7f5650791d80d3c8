"""The Ray cluster that training runs on: a private one on this machine, or an existing one."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digan.errors import UserError
from digan.redaction import redacted
from pipelines.cluster.scratch_folder import scratch_folder, write_token

OBJECT_STORE_BYTES = 100 * 2**20  # in /dev/shm; only sample videos pass through it
STORAGE = re.compile(r"(s3://[a-z0-9][a-z0-9.-]+/\S+)?")
ADDRESS = re.compile(r"auto|(ray://)?(?P<host>[^\s/:\[\]]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\d+)")
VARIABLE = "RAY_ADDRESS"
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

# Variables that Ray documents, set while the cluster is in use. Values that the user has set are kept.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage statistics
    START_TIMEOUT: "300",  # on a busy machine workers need a minute to import torch; Ray's default is 60
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers keep the driver's working directory, so relative paths stay valid
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would make Ray build an environment of its own for the workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; without it every process prints a FutureWarning
}
ELASTIC_ENVIRONMENT = {START_TIMEOUT: "60"}  # how long Ray waits for a lost machine before it starts with fewer workers
# A private cluster has no dashboard. Ray Train would ask one of another cluster on this machine, which does not know the
# driver, and release the workers' resources. Nothing listens at this address.
PRIVATE_ENVIRONMENT = {"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9"}
# A private cluster asks for a token, which is in its folder: other users of this machine reach its ports. Without these variables
# Ray (2.59 and later) switches this on, sets the first one and reads the token at RAY_AUTH_TOKEN_PATH.
AUTH_MODE, AUTH_TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
# With "0", a cluster listens on loopback addresses only, as it does by default on systems other than Linux. Ray reads it when
# it is imported.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME")  # inherited by workers, they slow down their start

CODE_SENT = "DIGAN_CODE_SENT"  # set in the runtime environment where this driver, not a Ray job, sent the code
START_SECONDS = 120  # for the first worker to start
CHECKOUT = Path(__file__).resolve().parents[2]
IS_CHECKOUT = (CHECKOUT / "params.yaml").exists()  # otherwise the package is installed


class ClusterAddressError(UserError):
    """No Ray cluster answers at ``cluster.address`` or ``$RAY_ADDRESS``; ``reason`` is the message without key and remedy."""

    def __init__(self, address: str, reason: str, remedy: str, *, key: str = "cluster.address") -> None:
        super().__init__(f"{key}={address}: {reason}; {remedy}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """The section ``cluster`` of params.yaml. ``address`` is empty (``$RAY_ADDRESS``, else a private cluster on this machine),
    ``auto``, ``host:port`` or ``ray://host:port``; ``gpus_per_worker`` is 0 (CPU and gloo) or 1 (NCCL); ``max_failures`` counts
    restarts after lost workers. With ``min_workers`` from 1 to below ``workers`` the number of workers follows the cluster's size.
    ``storage`` is empty or this run's s3:// prefix."""

    address: str
    workers: int
    min_workers: int
    cpus_per_worker: int
    gpus_per_worker: int
    max_failures: int
    storage: str

    def __post_init__(self) -> None:
        if self.address:
            _check_address(self.address, "cluster.address", 'try "" for this machine, auto, or ray://host:10001')
        workers, gpus = self.workers, self.gpus_per_worker
        checks = {
            "workers": (workers >= 1, "must be at least 1"),
            "cpus_per_worker": (self.cpus_per_worker >= 1, "must be at least 1"),
            "min_workers": (0 <= self.min_workers <= workers, f"must be 0 (fixed) or 1 to cluster.workers={workers}"),
            "storage": (STORAGE.fullmatch(self.storage), "must be empty or s3://bucket/prefix; try s3://digan/run-1"),
            "gpus_per_worker": (gpus in (0, 1), "must be 0 (CPU) or 1; for more GPUs, raise cluster.workers"),
            "max_failures": (self.max_failures >= 0, "must be 0 or more; try 3"),
        }
        for name, (valid, problem) in checks.items():
            if not valid:
                raise UserError(f"cluster.{name}={getattr(self, name)}: {problem}")

    @property
    def elastic(self) -> bool:
        """Whether the number of workers may change during the training."""
        return 0 < self.min_workers < self.workers

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """The resources that Ray reserves for a worker."""
        gpus = {"GPU": float(self.gpus_per_worker)} if self.gpus_per_worker else {}
        return {"CPU": float(self.cpus_per_worker), **gpus}

    @property
    def worker_environment(self) -> dict[str, str]:
        """Variables of a worker's process; one malloc arena keeps a CPU worker's tensors in the heap that it tunes."""
        return {} if self.gpus_per_worker else {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "1")}


def cluster_in_environment() -> str:
    """The address in ``$RAY_ADDRESS``, empty if there is none. ``UserError`` if it is none of a Ray cluster."""
    address = os.environ.get(VARIABLE, "").strip()
    if address in ("", "local"):  # Ray's word for a cluster of one's own
        return ""
    _check_address(address, VARIABLE, f"try {VARIABLE}=auto, host:6379 or ray://host:10001, or unset it")
    return address


def _check_address(address: str, key: str, remedy: str) -> None:
    if not ADDRESS.fullmatch(address):
        reason = "is no address of a Ray cluster"
        if address.startswith("http"):
            reason = "is the address of a dashboard, which takes jobs, and no address of a Ray cluster"
        elif address.count(":") > 1 and "//" not in address:
            reason += " (IPv6 needs brackets, such as [::1]:6379)"
        raise ClusterAddressError(address, reason, remedy, key=key)


def stay_on_loopback(config: ClusterConfig) -> None:
    """Make this process's private clusters listen on loopback addresses only; call it before Ray is imported.

    ``connect`` does so by itself where it is the first to import Ray.
    """
    if not (config.address or cluster_in_environment()):
        os.environ |= LOOPBACK


@contextmanager
def connect(config: ClusterConfig, *, environment: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Connect to the configured Ray cluster, with the variables ``environment``; yields a temporary folder for Ray's own files.

    An open connection is used and left open. ``UserError`` if no cluster answers or it can never place the workers.
    """
    key, address = "cluster.address" if config.address else VARIABLE, config.address or cluster_in_environment()
    elastic, private = ELASTIC_ENVIRONMENT if config.elastic else {}, {} if address else PRIVATE_ENVIRONMENT
    connected = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    with ExitStack() as stack:
        if not address and not connected:
            stack.enter_context(_environment(_gloo_on_loopback(), {} if "ray" in sys.modules else LOOPBACK))
        import ray

        folder = stack.enter_context(scratch_folder())
        if not address and not connected:
            private = {**private, TOKEN_PATH: str(write_token(folder))}
        stack.enter_context(_environment({**ENVIRONMENT, **elastic, **(environment or {})}, private))
        if connected:
            _check_capacity(config, ray.cluster_resources(), "the cluster in use")
            yield folder
            return
        sigterm_handler = signal.getsignal(signal.SIGTERM)
        try:
            if address:
                _join(address, key)
                _check_capacity(config, ray.cluster_resources(), f"the cluster at {address}")
            else:
                _start(config, folder)
            if threading.current_thread() is threading.main_thread():  # ray.init has installed one that exits with 15
                signal.signal(signal.SIGTERM, sigterm_handler)
            yield folder
        finally:
            ray.shutdown()


def _gloo_on_loopback() -> dict[str, str]:
    """The variable that keeps gloo's ports, which ask for no token, on the loopback interface."""
    names = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    return {"GLOO_SOCKET_IFNAME": names[0]} if names else {}


def _start(config: ClusterConfig, folder: Path) -> None:
    """Start a private cluster on this machine."""
    import ray
    import torch

    cpus, gpus = config.workers * config.cpus_per_worker, torch.cuda.device_count()
    _check_capacity(config, {"CPU": cpus, "GPU": gpus}, "this machine")
    ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=min(config.workers * config.gpus_per_worker, gpus),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
        runtime_env=_python(sys.executable),
        **QUIET,
    )


def _python(executable: str) -> dict[str, str]:
    """The runtime environment in which a shell finds ``executable``: Ray starts workers with `bash -c` and does not quote it."""
    quoted = shlex.quote(executable)
    return {} if quoted == executable else {"py_executable": quoted}


def _join(address: str, key: str) -> None:
    """Connect to the cluster at ``address`` and send this project's code, unless its machines or the Ray job have it."""
    import ray

    code = _code()
    parts = ADDRESS.fullmatch(address)
    port = parts["port"] if parts else ""
    reached = not port  # ``auto`` finds running clusters only
    try:
        if parts and port:  # where nothing listens, Ray itself would retry for minutes
            socket.create_connection((parts["host"].strip("[]"), int(port)), timeout=10).close()
            reached = True
        if not address.startswith("ray://"):
            ray.init(address=address, **QUIET)  # inherits a Ray job's code; Ray refuses to send another one
            if code is None or ray.get_runtime_context().runtime_env.get("working_dir"):
                return
            if _python(sys.executable):  # a cluster that was started from this folder
                code |= _python(ray.get(ray.remote(num_cpus=0)(lambda: sys.executable).remote(), timeout=START_SECONDS))
            ray.shutdown()
        ray.init(address=address, runtime_env=code, **QUIET)
    except (OSError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise _refusal(address, error, reached, key) from error


def _refusal(address: str, error: Exception, reached: bool, key: str = "cluster.address") -> ClusterAddressError:
    """Why the cluster cannot be joined. A cluster that refuses the login is, to Ray, one that does not answer."""
    from ray.exceptions import AuthenticationError

    cause = (redacted(str(error)).strip().splitlines() or [type(error).__name__])[0][:160]
    without = f"unset {VARIABLE}" if key == VARIABLE else 'set cluster.address=""'
    start = f"start one with `ray start --head`, or {without} to train on this machine alone"
    login = f"set {AUTH_MODE}=token, and {TOKEN_PATH} to a file with the login token of the cluster's machines"
    if isinstance(error, AuthenticationError):
        return ClusterAddressError(address, f"the Ray cluster there is not entered ({cause})", login, key=key)
    if not reached:
        return ClusterAddressError(address, f"no Ray cluster answers there ({cause})", start, key=key)
    reason = f"what listens there refuses this driver ({cause})"
    return ClusterAddressError(
        address, reason, f"if it is a Ray cluster that asks for a token, {login}; otherwise {start}", key=key
    )


def job_folder() -> Path | None:
    """The folder that Ray deletes with this process's Ray job; ``None`` outside a job with a working directory."""
    import ray

    environment = ray.get_runtime_context().runtime_env
    if not environment.get("working_dir") or CODE_SENT in environment.get("env_vars", {}):
        return None
    return CHECKOUT if IS_CHECKOUT else Path.cwd()


def _code() -> dict[str, Any] | None:
    """The runtime environment with the project's code and without data; ``None`` where it is installed."""
    if not IS_CHECKOUT:
        return None
    others = (path.name for path in CHECKOUT.iterdir() if path.name not in ("digan", "pipelines"))
    excluded = sorted("/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", name) for name in others)  # patterns as in .gitignore
    return {"working_dir": str(CHECKOUT), "excludes": excluded, "env_vars": {CODE_SENT: "1"}}


def _check_capacity(config: ClusterConfig, resources: Mapping[str, float], where: str) -> None:
    """Reject a request that Ray would wait for forever."""
    if config.elastic:
        config = replace(config, workers=config.min_workers)
    for kind, each, key in (("CPU", config.cpus_per_worker, "cpus"), ("GPU", config.gpus_per_worker, "gpus")):
        available = int(resources.get(kind, 0))
        if config.workers * each > available:
            fits = available // each
            remedy = f"try cluster.workers={fits}" if fits else f"try cluster.{key}_per_worker={available}"
            need = f"with cluster.{key}_per_worker={each} needs {config.workers * each} {kind}s"
            raise UserError(f"cluster.workers={config.workers}: {need}, and {where} has {available}; {remedy}")


@contextmanager
def _environment(defaults: Mapping[str, str], forced: Mapping[str, str]) -> Iterator[None]:
    """Set variables for Ray and its processes: ``defaults`` where unset, ``forced`` always; restored at the end.

    ``RAY_AUTH_MODE``, which Ray sets, is restored, too.
    """
    wanted = {name: os.environ.get(name, value) for name, value in defaults.items()} | dict(forced)
    before = {name: os.environ.get(name) for name in (*wanted, *UNWANTED, AUTH_MODE, AUTH_TOKEN)}
    os.environ.update(wanted)
    for name in (*UNWANTED, *((AUTH_MODE, AUTH_TOKEN) if TOKEN_PATH in forced else ())):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
