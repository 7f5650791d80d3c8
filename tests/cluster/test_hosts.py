"""Two hosts train one run without a shared disk; one of them dies or loses its network, and the run completes on the other."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from digan.generator_io import load_generator
from pipelines.training_run import run_fingerprint
from tests.cluster.hosts import BIN, ROOT, Host, inside, joined, possible, start_mlflow, start_ray, start_s3, wait_for
from tests.pipelines.small_run import write_params, write_shards

pytestmark = pytest.mark.cluster
CLIPS, INTERVAL, LOSS_AT = 1000, 80, 320


@dataclass
class Site:
    """Two hosts; the first runs the head, S3 and MLflow and holds the project's folder, which the second cannot see."""

    one: Host
    two: Host
    project: Path
    variables: dict[str, str]

    def launch(self, run: str, log: str) -> Callable[[], int | None]:
        values = YAML().load((self.project / "params.yaml").read_text())
        values["tracking"].update(uri="")
        values["cluster"].update(min_workers=1, storage=f"s3://digan/{run}")
        with (self.project / "params.yaml").open("w") as file:
            YAML().dump(values, file)
        script = f'cd "{self.project}" && exec "$@"'
        command = ("bash", "-c", script, "driver", sys.executable, "-m", "pipelines.train")
        return self.one.start(*command, environment=self.variables | {"PYTHONPATH": str(ROOT)}, log=log).poll

    def checkpoints(self, run: str) -> list[int]:
        code = (
            "from pipelines.training_run.checkpoint_store import RemoteStore\n"
            f"print(*RemoteStore('s3://digan/{run}/checkpoints').names())"
        )
        text = inside(self.one, sys.executable, "-c", code, environment=self.variables | {"PYTHONPATH": str(ROOT)})
        return sorted(int(name) for name in text.split())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    reason = possible()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="dgh", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        with joined(2, folder) as (one, two):
            project = one.folder / "project"
            project.mkdir()
            write_params(project, clips=CLIPS, checkpoint_interval=INTERVAL, sample_interval=800, snapshot_interval=400)
            write_shards(project / "outputs/shards")
            variables = start_s3(one) | {"MLFLOW_TRACKING_URI": start_mlflow(one)}
            variables |= {"RAY_ADDRESS": f"{one.address}:6379"}
            start_ray(one, one)
            wait_for("the head", 240, lambda: "This command will now block" in (one.folder / "ray.log").read_text())
            join(one, two)
            yield Site(one, two, project, variables)


def join(one: Host, two: Host) -> None:
    start_ray(two, one)
    wait_for("the second host", 240, lambda: "This command will now block" in (two.folder / "ray.log").read_text())


def ended(poll: Callable[[], int | None], seconds: float) -> int:
    wait_for("the end of the run", seconds, lambda: poll() is not None)
    code = poll()
    assert code is not None
    return code


def assert_whole(site: Site, log: str) -> None:
    """Assert a generator, and a log and an MLflow run that hold every point once, in order, to the end."""
    output = site.project / "outputs/train"
    load_generator(output / "generator")
    assert list(run_fingerprint.read_origin(output).training.items())  # type: ignore[union-attr]
    seen = [json.loads(line)["clips_seen"] for line in (output / "log.jsonl").read_text().splitlines()]
    assert seen == sorted(set(seen)) and seen[-1] == CLIPS
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= CLIPS // 4, seen
    run_id = json.loads((output / "run.json").read_text())["run_id"]
    with sqlite3.connect(site.one.folder / "mlflow.db") as store:
        rows = store.execute(
            "select step from metrics where run_uuid = ? and key = 'loss/generator' order by timestamp, step", (run_id,)
        )
        steps = [step for (step,) in rows]
        (status,) = store.execute("select status from runs where run_uuid = ?", (run_id,)).fetchone()
    assert steps == sorted(set(steps)) and steps[-1] == CLIPS and set(steps) <= set(seen)
    assert status == "FINISHED", log


@pytest.mark.parametrize("loss", ["killed", "cut off"])
def test_run_completes_after_the_loss_of_a_host(site: Site, loss: str) -> None:
    run = loss.replace(" ", "-")
    output = site.project / "outputs/train"
    poll = site.launch(run, f"{run}.log")
    log = site.one.folder / f"{run}.log"
    wait_for("a checkpoint", 400, lambda: max(site.checkpoints(run), default=0) >= LOSS_AT, log)
    assert poll() is None, log.read_text()
    (site.two.kill if loss == "killed" else site.two.cut)()
    begun = time.monotonic()
    code = ended(poll, 600)
    output_text = log.read_text()
    print(output_text, f"{time.monotonic() - begun:.0f} s after the loss")
    assert code == 0, output_text
    assert "restart 1 of at most 3" in output_text
    assert_whole(site, output_text)
    output.rename(site.project / f"outputs/{run}")
    if loss == "killed":
        join(site.one, site.two)  # the machine is back


def submit(site: Site, checkout: Path, variables: dict[str, str]) -> tuple[int, str]:
    """`ray job submit` of a checkout, as in docs/cluster.md; returns its exit code and what it printed."""
    runtime = json.dumps({"env_vars": variables})
    command = [str(BIN / "ray"), "job", "submit", "--address", f"http://{site.one.address}:8265", "--working-dir", "."]
    command += ["--runtime-env-json", runtime, "--", "python", "-m", "pipelines.train"]
    process = site.one.start("bash", "-c", f'cd "{checkout}" && exec "$@"', "submit", *command)
    text, _ = process.communicate(timeout=900)
    return process.returncode, text


def test_job_brings_its_code_only_and_its_exit_code_shows_success(site: Site) -> None:
    """The shards are on S3; the job's folder has neither shards nor outputs."""
    checkout = site.one.folder / "checkout"
    for name in ("digan", "pipelines"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".rayignore"):
        shutil.copyfile(ROOT / name, checkout / name)
    for decoy in ("outputs/shards/big.tar", ".git/objects/pack", "tests/x.py", ".venv/lib.so"):
        (checkout / decoy).parent.mkdir(parents=True, exist_ok=True)
        (checkout / decoy).write_bytes(os.urandom(2**20))
    write_params(checkout, clips=160, checkpoint_interval=80)
    values = YAML().load((checkout / "params.yaml").read_text())
    values["cluster"].update(min_workers=1, storage="s3://digan/job")
    with (checkout / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    publish = "from pipelines.training_run import run_sync\nimport sys\nrun_sync.publish_shards(*sys.argv[1:], print)"
    shards = str(site.project / "outputs/shards")
    environment = site.variables | {"PYTHONPATH": str(ROOT)}
    inside(site.one, sys.executable, "-c", publish, shards, "s3://digan/job", environment=environment)
    code, text = submit(site, checkout, site.variables)
    print(text)
    assert code != 0 and "this SQLite file is deleted with the Ray job" in text
    values["tracking"].update(uri="")
    with (checkout / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    code, text = submit(site, checkout, site.variables)
    print(text)
    assert code == 0 and "160 clips in" in text and "succeeded" in text
    assert "160/160 clips  100%" in text  # the log follows
    pattern = "r/session_*/runtime_resources/working_dir_files/*/pipelines/train.py"
    packages = [path.parents[1] for path in site.one.folder.glob(pattern)]  # of drivers before, too
    found = [{path.name for path in package.iterdir()} for package in packages]
    assert any({"digan", "pipelines", "params.yaml"} <= names for names in found)
    assert not any(names & {".git", "tests", ".venv"} for names in found)
    assert not any((package / "outputs/shards").exists() for package in packages)
