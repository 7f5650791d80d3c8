"""The command lines of infra/compose.yaml run here: PostgreSQL (Debian's), SeaweedFS, the buckets and the MLflow server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.s3 import BINARY, free_ports
from tests.test_infra import INFRA, read

SETTINGS = {"POSTGRES_PASSWORD": "p@ss/w:rd#%", "AWS_ACCESS_KEY_ID": "planted-key", "AWS_SECRET_ACCESS_KEY": "secret"}
LOG_A_RUN = """
import mlflow
mlflow.set_experiment("compose")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.5)
    mlflow.log_text("content", "folder/file.txt")
client = mlflow.MlflowClient()
print(client.get_run(run.info.run_id).data.metrics, mlflow.artifacts.load_text(f"{run.info.artifact_uri}/folder/file.txt"))
"""


@contextmanager
def running(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment}, cwd=log.parent)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def value_of(text: str, settings: Mapping[str, str]) -> str:
    """A value with its variables, as compose fills them in."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: settings[match[1]], text)


def as_postgres(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else list(command)


@contextmanager
def postgres(folder: Path, port: int, service: Mapping[str, Any]) -> Iterator[None]:
    """The image's database: a superuser of this name with the password, and a database."""
    given = {name: value_of(text, SETTINGS) for name, text in service["environment"].items()}
    user, database = given["POSTGRES_USER"], given["POSTGRES_DB"]
    folder.mkdir()
    (folder / "password").write_text(given["POSTGRES_PASSWORD"] + "\n")
    if os.getuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
        for parent in folder.parents[:3]:  # pytest's folders are closed to other users
            parent.chmod(0o755)
    made = as_postgres(
        "initdb", "-D", f"{folder}/data", "-U", user, "-A", "scram-sha-256", f"--pwfile={folder}/password"
    )
    subprocess.run(made, check=True, capture_output=True, cwd=folder)
    server = as_postgres("postgres", "-D", f"{folder}/data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder))
    with running(server, folder / "log", {}):
        password = {**os.environ, "PGPASSWORD": given["POSTGRES_PASSWORD"]}
        create = ["createdb", "-h", "127.0.0.1", "-p", str(port), "-U", user, database]
        deadline = time.monotonic() + 60
        while (done := subprocess.run(create, env=password, capture_output=True, text=True, check=False)).returncode:
            assert time.monotonic() < deadline, done.stderr + (folder / "log").read_text()
            time.sleep(0.3)
        yield


def command_of(service: Mapping[str, Any], changes: Mapping[str, str]) -> list[str]:
    words = [value_of(word, SETTINGS) for word in service["command"]]
    for old, new in changes.items():
        assert any(old in word for word in words), f"{old} is not in {words}"
        words = [word.replace(old, new) for word in words]
    return words


@pytest.mark.slow
def test_services_start_and_a_run_is_logged_and_read(tmp_path: Path) -> None:
    if missing := [name for name in ("initdb", "postgres", "createdb") if shutil.which(name) is None]:
        pytest.skip(f"no {missing[0]}: apt-get install postgresql, and put its programs on PATH")
    if not BINARY.exists():
        pytest.skip(f"no {BINARY}: make install")
    services = read(INFRA / "compose.yaml")["services"]
    database, s3, mlflow, *others = map(str, free_ports(10))
    with ExitStack() as stack:
        stack.enter_context(postgres(tmp_path / "postgres", int(database), services["postgres"]))
        names = (
            "-master.port",
            "-volume.port",
            "-filer.port",
            "-master.port.grpc",
            "-volume.port.grpc",
            "-filer.port.grpc",
        )
        ports = [f"{name}={port}" for name, port in zip(names, others, strict=False)]
        places = {"-dir=/data": f"-dir={tmp_path}", "-ip=s3": "-ip=127.0.0.1", "0.0.0.0": "127.0.0.1", "8333": s3}
        server = [str(BINARY), *command_of(services["s3"], places), *ports, f"-s3.port.grpc={others[6]}"]
        keys = {name: value_of(text, SETTINGS) for name, text in services["mlflow"]["environment"].items()}
        keys |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}", "AWS_EC2_METADATA_DISABLED": "true"}
        stack.enter_context(running(server, tmp_path / "s3.log", keys))
        buckets = [sys.executable, *command_of(services["buckets"], {})[1:]]
        for _ in range(2):  # a second start finds them
            subprocess.run(buckets, env={**os.environ, **keys}, check=True, timeout=150, capture_output=True)
        places = {"0.0.0.0": "127.0.0.1", "5000": mlflow, "@postgres/": f"@127.0.0.1:{database}/"}
        server = [sys.executable, "-m", *command_of(services["mlflow"], places)]
        assert not [word for word in server if SETTINGS["POSTGRES_PASSWORD"] in word]
        process = stack.enter_context(running(server, tmp_path / "mlflow.log", keys))
        client = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "9",
        }
        deadline, done = time.monotonic() + 150, None
        while done is None or done.returncode:
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "mlflow.log").read_text()[-3000:]
            done = subprocess.run(
                [sys.executable, "-c", LOG_A_RUN], env=client, capture_output=True, text=True, check=False
            )
        assert "{'loss': 1.5} content" in done.stdout
