"""Checks before a stage: every machine of the cluster has the driver's code and reaches what it reads and writes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from digan.errors import UserError
from digan.redaction import redacted
from pipelines.storage import file_io
from pipelines.training_run import run_fingerprint

PROBE_TIMEOUT = 300  # seconds
FORWARDED = ("AWS_", "DIGAN_CACHE")  # prefixes of the variables that workers receive from the driver


def check_driver(uri: str, storage: str, folder: Path, job_folder: Path | None) -> None:
    """Reject a driver in a Ray job whose MLflow store or checkpoints would be deleted together with the job's folder."""
    if job_folder is None or not folder.resolve().is_relative_to(job_folder):
        return
    if uri.startswith("sqlite"):
        remedy = "set MLFLOW_TRACKING_URI=http://... in --runtime-env-json, or tracking.uri"
        raise UserError(f"tracking.uri={uri}: this SQLite file is deleted with the Ray job; {remedy}")
    if not storage:
        deleted = f"{folder} is deleted with the Ray job, and the training with it"
        raise UserError(f'cluster.storage="": {deleted}; set cluster.storage=s3://bucket/run')


def check_nodes(reads: Mapping[str, str], output: str, code: str) -> None:
    """Check every other machine with CPUs; ``UserError`` names the first one that cannot take part.

    ``reads`` has the addresses of files that tasks read, by what they are; tasks write to ``output``.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    others = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes if node["NodeID"] != here}
    if not others:
        return
    token = secrets.token_hex(8)
    marker = file_io.join(output, f".reach-{token}")
    file_io.write_bytes(marker, token.encode())
    try:
        remote = ray.remote(num_cpus=0, max_retries=0)(_probe)
        arguments = (dict(reads), marker, token, code, environment())
        pinned = [remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(id, soft=False)) for id in others]
        answers = [task.remote(*arguments) for task in pinned]
        for host, answer in zip(others.values(), answers, strict=True):
            try:
                problem = ray.get(answer, timeout=PROBE_TIMEOUT)
            except Exception as error:
                reason = (redacted(str(error)).strip().splitlines() or [type(error).__name__])[-1][:200]
                problem = f"cannot run this project ({reason}); install it there, or use an image that has it"
            if problem:
                raise UserError(f"machine {host}: {problem}")
    finally:
        file_io.delete(marker)


def environment() -> dict[str, str]:
    """The driver's environment variables that workers need for S3."""
    return {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}


def _probe(reads: dict[str, str], marker: str, token: str, code: str, variables: dict[str, str]) -> str:
    """Run on another machine: why it cannot take part, empty if it can."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    if run_fingerprint.code_digest() != code:
        return "has another version of the code in digan/; bring both to one commit"
    remedy = "put it on a disk that all machines share, or on S3 (cluster.storage, source.path, shards.address)"
    try:
        for what, address in reads.items():
            if not file_io.exists(address) and not file_io.list_names(
                address
            ):  # on S3, a folder has no file of its own
                return f"does not see {what}; {remedy}"
        if not file_io.exists(marker) or file_io.read_bytes(marker) != token.encode():
            return f"does not see the output folder {marker.rpartition('/')[0]}; {remedy}"
    except UserError as error:
        return str(error)
    return ""
