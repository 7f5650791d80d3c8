"""Credentials planted in every key of params.yaml reach no error line, log, page, record or MLflow store."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from digan.errors import UserError
from pipelines import log_setup, params
from pipelines.params_file import flatten
from pipelines.report.html_page import render
from pipelines.report.progress_display import ProgressDisplay
from pipelines.tracking import runs
from pipelines.tracking.store import TrackingConfig
from tests.conftest import ROOT, WriteParams
from tests.pipelines.small_run import write_params as small_params
from tests.pipelines.small_run import write_shards

KEYS = sorted(flatten(YAML(typ="safe", pure=True).load(ROOT / "params.yaml")))
ADDRESSES = ("http://planted-user:planted-pass@host:1/x", "s3://bucket/x?token=planted-token", "ray://planted@h:1")
ODD = ("planted pass", "p@planted", "12/planted", "planted/p", "planted#p", "planted?p", "%70planted%40", "p@s planted")
ODD_ADDRESSES = tuple(f"http://planted-user:{password}@host:1/x" for password in ODD)


@pytest.mark.parametrize("key", KEYS)
def test_no_key_but_the_tracking_address_may_hold_credentials(key: str, write_params: WriteParams) -> None:
    for address in (
        *ADDRESSES,
        *ODD_ADDRESSES,
        f"{'x' * 40}://planted-user:planted-pass@host",
        ["http://planted@host"],
    ):
        path = write_params({key: address})
        if key == "tracking.uri" and isinstance(address, str):
            shown = params.load(path).as_dict()
            assert params.load(path).tracking.uri == address and "planted" not in str(shown)
            continue
        with pytest.raises(UserError) as caught:
            params.load(path)
        assert "planted" not in str(caught.value) and key.split(".")[0] in str(caught.value)


def test_names_of_keys_are_hidden_too(write_params: WriteParams) -> None:
    for key in ("training.http://planted@host", "http://planted@host", "tune.space.http://planted@host"):
        with pytest.raises(UserError) as caught:
            params.load(write_params({key: 1}))
        assert "planted" not in str(caught.value)


def test_logs_progress_tracebacks_and_pages_hide_them(capsys: pytest.CaptureFixture[str]) -> None:
    log_setup.configure()
    logging.getLogger("pipelines.x").warning("%s fails", ADDRESSES[0])
    ProgressDisplay("train").message(f"{ADDRESSES[1]} is slow")
    code = (
        "from pipelines.exit_status import run_stage\ndef bug(): raise KeyError('http://planted@host')\nrun_stage(bug)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "KeyError: 'http://***@host'" in done.stderr
    out, err = capsys.readouterr()
    assert (
        "planted" not in out + err and "s3://bucket/x?token=*** is slow" in out and "http://***@host:1/x fails" in err
    )
    environment = {"source": {"name": ADDRESSES[0]}, "address": ADDRESSES[1], "frames": 1, "resolution": 1}
    index = {
        **environment,
        "frame_stride": 1,
        "encoding": "png",
        "counts": {},
        "statistics": {},
        "digest": "",
        "software": {},
    }
    report = {"used": 0, "videos": 0, "rejected": {ADDRESSES[2]: ADDRESSES[0]}, "decoded_with_pyav": {}, "unsteady": []}
    page = render(
        "data.html.jinja", index=index, report=report, report_file="", bars={}, clips={}, max_bars=1, frames_shown=1
    )
    assert "planted" not in page and "ray://***@h:1" in page


def test_a_store_that_does_not_answer_is_named_without_them(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    for address in ("http://planted-user:planted-pass@127.0.0.1:9", "http://127.0.0.1:9/?token=planted"):
        with pytest.raises(UserError, match=r"tracking\.uri=http://.*cannot be used") as caught:
            runs.open_run(TrackingConfig(uri=address, experiment="x"), {}, {})
        assert "planted" not in str(caught.value)
    out, err = capfd.readouterr()
    assert "planted" not in out + err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A real MLflow server on loopback; the value is its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("given_by", ["params.yaml", "environment"])
def test_no_stage_leaves_them_anywhere(given_by: str, server: int, tmp_path: Path) -> None:
    folder, address = tmp_path / "project", f"http://planted-user:planted-pass@127.0.0.1:{server}"
    folder.mkdir()
    small_params(folder, clips=80, sample_interval=40, snapshot_interval=40)
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(folder / "params.yaml")
    values["tracking"]["uri"] = address if given_by == "params.yaml" else ""
    values["evaluation"].update(videos=8, draws=2, curve_videos=8)
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    write_shards(folder / "outputs/shards")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment |= {"MLFLOW_TRACKING_URI": address} if given_by == "environment" else {}
    printed = ""
    for words in (["train", "--dry-run"], ["train"], ["reference"], ["evaluate"], ["register"], ["cli.summary"]):
        command = [sys.executable, "-m", f"pipelines.{words[0]}", *words[1:]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        printed += done.stdout + done.stderr
    assert "planted" not in printed and "registered: models:/digan-toy/1" in printed
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "params.yaml"]
    found = [path.relative_to(tmp_path).as_posix() for path in files if b"planted" in path.read_bytes()]
    assert len(files) > 30 and found == []
