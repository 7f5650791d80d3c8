"""Checks before a training starts: does every machine of the cluster have the driver's code, and reach shards and output?"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from digan.errors import UserError
from pipelines.storage import file_io

REACH_SECONDS = 300
PASSED_ON = ("AWS_", "DIGAN_CACHE")  # prefixes of the variables that workers get from the driver


def check_driver(uri: str, home: str, folder: Path, job_folder: Path | None) -> None:
    """Refuse a driver whose log and checkpoints would be deleted with its Ray job: in its folder, with SQLite or without storage."""
    if job_folder is None or not folder.resolve().is_relative_to(job_folder):
        return
    if uri.startswith("sqlite:"):
        raise UserError(
            f"tracking.uri={uri}: SQLite in a job's own folder goes with the job; set MLFLOW_TRACKING_URI=http://... "
            "in --runtime-env-json, or tracking.uri"
        )
    if not home:
        raise UserError(
            f'cluster.storage="": {folder} goes with the job, and the training with it; set cluster.storage=s3://bucket/run'
        )


def check_nodes(shards: str, output: str, code: str) -> None:
    """Check every other machine with CPUs; ``UserError`` names the first one that cannot take part."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in nodes if node["NodeID"] != here]
    if not others:
        return
    word = secrets.token_hex(8)
    mark = file_io.join(output, f".reach-{word}")
    file_io.write_bytes(mark, word.encode())
    try:
        probe = ray.remote(num_cpus=0, max_retries=0)(_probe)
        asked = {
            node["NodeManagerHostname"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(shards, mark, word, code, environment())
            for node in others
        }
        for host, answer in asked.items():
            try:
                wrong = ray.get(answer, timeout=REACH_SECONDS)
            except Exception as error:
                first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
                raise UserError(
                    f"machine {host}: cannot run this project ({first}); install it there, or use an image that has it"
                ) from error
            if wrong:
                raise UserError(f"machine {host}: {wrong}")
    finally:
        file_io.delete(mark)


def environment() -> dict[str, str]:
    """The driver's environment variables that workers need for S3."""
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


def _probe(shards: str, mark: str, word: str, code: str, variables: dict[str, str]) -> str:
    """Run on another machine: what keeps it from taking part, empty if nothing does."""
    from pipelines.dataset.shard_index import INDEX
    from pipelines.training_run import run_fingerprint

    for name, value in variables.items():
        os.environ.setdefault(name, value)
    if run_fingerprint.code_digest() != code:
        return "has another version of the code in digan/; bring both to one commit"
    remedy = "put it on a disk that all machines share, or set cluster.storage=s3://bucket/run"
    try:
        if not file_io.exists(file_io.join(shards, INDEX)):
            return f"does not see the shards at {shards}; {remedy}"
        if not file_io.exists(mark) or file_io.read_bytes(mark) != word.encode():
            return f"does not see the output folder {mark.rpartition('/')[0]}; {remedy}"
    except UserError as error:
        return str(error)
    return ""
