"""MLflow runs: resumed by id, no step twice, provenance tags, and errors of unusable stores."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE, MlflowException

from digan.errors import UserError
from pipelines.tracking import runs
from pipelines.tracking.store import TrackingConfig, refusals
from pipelines.training_run import provenance


@pytest.fixture
def config(store: Path) -> TrackingConfig:
    return runs.resolved(TrackingConfig(uri="", experiment="tests"), store)


def history(config: TrackingConfig, run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in runs.client(config).get_metric_history(run_id, metric)]


def forget() -> None:
    """Clear the state of this process."""
    runs._last_steps.clear()


def test_address_comes_from_params_then_environment_then_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = TrackingConfig(uri="", experiment="e")
    assert runs.resolved(empty, tmp_path).uri == f"sqlite:///{tmp_path}/mlflow.db"
    queued = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    assert runs.resolved(empty, queued).uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert runs.resolved(empty, tmp_path).uri == "http://127.0.0.1:5000"
    monkeypatch.chdir(tmp_path)
    here = runs.resolved(TrackingConfig(uri="sqlite:///own.db", experiment="e"))
    assert here.uri == f"sqlite:///{tmp_path}/own.db"
    assert runs.resolved(here, Path("/elsewhere")) == here


def test_resumed_run_logs_no_step_twice(config: TrackingConfig, tmp_path: Path) -> None:
    run_file = tmp_path / "out" / "run.json"
    run_id = runs.open_run(
        config, {"training": {"seed": 0, "clips": 100}, "source": {"path": ""}}, {"a": "b"}, run_file
    )
    assert json.loads(run_file.read_text())["run_id"] == run_id
    for step in (10, 20, 30):
        runs.log_metrics(config, run_id, {"loss/generator": step / 10, "logits": -1.0}, step)
    forget()
    assert runs.open_run(config, {"training": {"seed": 0, "clips": 200}}, {"a": "c"}, run_file) == run_id
    for step in (20, 30, 40):
        runs.log_metrics(config, run_id, {"loss/generator": 9.0, "new": 1.0}, step)
    runs.finish_run(config, run_id)

    assert history(config, run_id, "loss/generator") == [(10, 1.0), (20, 2.0), (30, 3.0), (40, 9.0)]
    assert history(config, run_id, "new") == [(20, 1.0), (30, 1.0), (40, 1.0)]
    run = runs.client(config).get_run(run_id)
    assert run.data.params == {"training.seed": "0", "training.clips": "100", "source.path": ""}
    assert run.data.tags["a"] == "c" and run.data.tags["changed.training.clips"] == "200"
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"run_id": "0123456789abcdef0123456789abcdef"}'])
def test_unusable_run_file_gives_a_new_run(config: TrackingConfig, tmp_path: Path, content: str | None) -> None:
    run_file = tmp_path / "run.json"
    if content is not None:
        run_file.write_text(content)
    run_id = runs.open_run(config, {}, {"dvc.exp_name": "brave-mole"}, run_file)
    assert runs.client(config).get_run(run_id).info.run_name == "brave-mole"
    assert json.loads(run_file.read_text())["run_id"] == run_id


def test_evaluation_logs_new_values(config: TrackingConfig, tmp_path: Path) -> None:
    run_id = runs.open_run(config, {}, {}, tmp_path / "run.json")
    for value in (3.5, 3.5, 2.5):
        runs.log_evaluation(config, run_id, {"frechet": value}, step=0)
        runs.set_tags(config, run_id, {"detector": "d"})
    assert [value for _, value in history(config, run_id, "frechet")] == [3.5, 2.5]
    run = runs.client(config).get_run(run_id)
    assert run.data.metrics["frechet"] == 2.5 and run.data.tags["detector"] == "d"


def test_more_points_than_one_request_takes_and_nan_are_logged(config: TrackingConfig, tmp_path: Path) -> None:
    run_id = runs.open_run(config, {}, {}, tmp_path / "run.json")
    runs.log_metrics(config, run_id, {f"m{k:04d}": float(k) for k in range(1200)} | {"bad": float("nan")}, 1)
    metrics = runs.client(config).get_run(run_id).data.metrics
    assert len(metrics) == 1201 and metrics["m1199"] == 1199 and metrics["bad"] != metrics["bad"]


class NoMlflow(http.server.BaseHTTPRequestHandler):
    """A web server that answers every request with an HTML page."""

    status = 200

    def do_GET(self) -> None:
        body = b"<html>hello</html>"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=[200, 404, 403, 503])
def other_server(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (NoMlflow,), {"status": request.param})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def assert_store_is_unusable(uri: str, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        runs.open_run(TrackingConfig(uri=uri, experiment="x"), {}, {}, folder / "run.json")
    line = str(caught.value)
    assert line.startswith(f"tracking.uri={uri}: this MLflow store cannot be used (") and "\n" not in line
    assert "start the server" in line and not (folder / "run.json").exists()


def test_unreachable_server_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert_store_is_unusable("http://127.0.0.1:9", tmp_path)


def test_other_server_is_a_user_error(other_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert_store_is_unusable(other_server, tmp_path)


def test_invalid_database_and_unknown_scheme_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is text, not a database " * 100)
    for uri in (f"sqlite:///{tmp_path}/x.db", "ftp://x"):
        assert_store_is_unusable(uri, tmp_path)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE),
        requests.exceptions.Timeout("no answer"),
        caused(MlflowException("API request failed"), requests.exceptions.ConnectionError("no route")),
    ],
)
def test_store_that_fails_later_is_a_user_error(error: Exception) -> None:
    with pytest.raises(UserError, match=r"tracking\.uri=here: this MLflow store cannot be used"), refusals("here"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("Max retries, Connection refused, unable to open database"),  # the text does not count
        MlflowException("bad name", error_code=INVALID_PARAMETER_VALUE),
        FileNotFoundError("weights.pt"),
        UserError("another line"),
    ],
)
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, refusals("here"):
        raise error
    assert caught.value is error


def test_opening_a_store_prints_nothing(tmp_path: Path) -> None:
    """By default, MLflow logs its migrations."""
    code = (
        "from pathlib import Path; from pipelines.tracking.runs import *;"
        "c = resolved(TrackingConfig(uri='', experiment='x')); r = open_run(c, {}, {}, Path('run.json'));"
        "log_metrics(c, r, {'a': 1.0}, 1); finish_run(c, r)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=folder, check=True, capture_output=True
    )


def test_tags_and_stage_hash_change_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("1\n")
    (tmp_path / "params.yaml").write_text("training: {seed: 0}\nevaluation: {draws: 1}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [a.py, data], params: [training]}}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "index.json").write_text("{}")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    monkeypatch.setenv("DVC_EXP_NAME", "brave-mole")
    monkeypatch.chdir(tmp_path)
    tags = provenance.run_tags("train", "d1")
    assert tags["data.digest"] == "d1" and tags["dvc.exp_name"] == "brave-mole" and tags["git.dirty"] == "false"
    assert len(tags["git.commit"]) == 40 and len(tags["dvc.stage_hash"]) == 64

    def changed(name: str, text: str) -> bool:
        before = provenance.stage_hash("train")
        (tmp_path / name).write_text(text)
        return provenance.stage_hash("train") != before

    assert changed("a.py", "2\n")
    assert changed("data/index.json", '{"a": 1}')
    assert changed("params.yaml", "training: {seed: 1}\nevaluation: {draws: 1}\n")
    assert not changed("params.yaml", "training: {seed: 1}\nevaluation: {draws: 2}\n")
    assert not changed("data/more", "not in the index")
    assert provenance.run_tags("train", "d1")["git.dirty"] == "true"
    assert provenance.stage_hash("other") is None
    monkeypatch.chdir("/")
    assert "git.commit" not in provenance.run_tags("train", "d")
