"""The registry: one version for the same weights, and loading versions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from digan.errors import UserError
from digan.generator_io import load_generator
from digan.sampling import sample
from digan.times import frame_times
from pipelines import params, register
from pipelines.registry import model_address
from pipelines.registry.alias_decision import CHALLENGER, CHAMPION
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig
from tests.conftest import WriteParams

Stage = Callable[..., dict[str, Any]]


@pytest.fixture
def stage(
    store: Path,
    tiny_generator: Path,
    write_params: WriteParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Stage:
    """Run `register` after the earlier stages; ``change`` is added to one of the weights."""
    monkeypatch.chdir(tmp_path)
    name = request.node.name.replace("_", "-")
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    write_params({"tracking.uri": config.uri, "tracking.experiment": "register", "registry.model": name})
    shutil.copytree(tiny_generator, register.GENERATOR)
    runs.open_run(config, {}, {}, register.RUN_FILE)
    register.METRICS.parent.mkdir()

    def run(value: float, *, change: float = 0.0, detector: str = "t1") -> dict[str, Any]:
        weights = torch.load(register.GENERATOR / "weights.pt", weights_only=True)
        next(iter(weights.values())).add_(change)
        if change:
            torch.save(weights, register.GENERATOR / "weights.pt")
        content = {
            "metric": "frechet_x",
            "frechet_x": {"mean": value, "spread": 0.1, "real_vs_real": 1.0},
            "data_digest": "d1",
            "detector_digest": detector,
            "protocol_text": "quick: 16 videos of 5 frames",
            "seed": 0,
            "truncation": 1.0,
        }
        register.METRICS.write_text(json.dumps(content))
        register.main()
        return json.loads(register.RESULT.read_text())

    return run


def test_registering_again_keeps_the_version_and_decides_its_alias_anew(
    stage: Stage, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = stage(5.0)
    assert (first["version"], first["alias"], first["created"]) == (1, CHAMPION, True)
    keys = "model version alias reason created metric value data_digest detector_digest weights_digest run_id"
    assert first.keys() == set(keys.split())
    again = stage(5.0)
    assert (again["version"], again["alias"], again["created"]) == (1, CHAMPION, False)
    worse = stage(6.0, change=0.1)
    assert (worse["version"], worse["alias"]) == (2, CHALLENGER)
    better_measured = stage(4.0)  # the same weights, measured again
    assert (better_measured["version"], better_measured["alias"], better_measured["created"]) == (2, CHAMPION, False)
    other_detector = stage(0.1, change=0.1, detector="t2")
    assert (other_detector["version"], other_detector["alias"]) == (3, CHALLENGER)

    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    model = runs.client(config).get_registered_model(first["model"])
    assert {alias: int(number) for alias, number in model.aliases.items()} == {CHAMPION: 2, CHALLENGER: 3}
    version = runs.client(config).get_model_version(first["model"], "2")
    wanted = {"metric": "frechet_x", "value": "4.0", "data.digest": "d1", "detector.digest": "t1"}
    wanted["protocol"] = "quick: 16 videos of 5 frames, truncation 1.0, seed 0"
    assert wanted.items() <= version.tags.items() and version.run_id == first["run_id"]
    assert version.tags["weights.digest"] == worse["weights_digest"]
    assert f"registered: models:/{first['model']}/3 as @challenger" in capsys.readouterr().out
    run = runs.client(config).get_run(first["run_id"])
    assert run.data.tags["registered"] == f"{first['model']}/3"


def test_figures_are_on_the_logged_model_and_once_in_the_run(stage: Stage, store: Path) -> None:
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    mlflow, name = runs.client(config), "result/frechet_x/mean"
    run_id = runs.read_run_id(register.RUN_FILE)
    assert run_id is not None
    runs.log_evaluation(config, run_id, {name: 5.0}, step=7)  # by the stage `evaluate`
    for value in (5.0, 5.0, 4.0):  # registered, registered again, measured again
        version = stage(value)
        logged = mlflow.get_logged_model(mlflow.get_model_version(version["model"], "1").tags["logged_model_id"])
        figures = {metric.key: metric.value for metric in logged.metrics}
        assert figures[name] == value and figures["result/frechet_x/real_vs_real"] == 1.0
    assert [(point.step, point.value) for point in mlflow.get_metric_history(run_id, name)] == [(7, 5.0), (0, 4.0)]


def test_first_version_far_from_real_videos_is_no_champion(
    stage: Stage, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = stage(16.2)
    name, config = bad["model"], runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    assert (bad["version"], bad["alias"]) == (1, CHALLENGER)
    assert (
        "as @challenger: no champion yet: frechet_x 16.2 is more than 10 times real vs. real, 1 ("
        in capsys.readouterr().out
    )
    assert model_address.generator_folder(f"models:/{name}@challenger", config).is_dir()
    with pytest.raises(
        UserError, match=rf"{name} has no champion yet; try models:/{name}@challenger \(version 1\), or set"
    ):
        model_address.generator_folder(f"models:/{name}@champion", config)
    assert stage(15.0, change=0.1)["alias"] == CHALLENGER
    good = stage(3.0, change=0.1)
    assert (good["version"], good["alias"]) == (3, CHAMPION)
    assert stage(1.0)["alias"] == CHAMPION and stage(40.0)["alias"] == CHAMPION  # measured again
    assert runs.client(config).get_model_version(name, "1").tags["real_vs_real"] == "1.0"


def test_version_that_is_promoted_by_hand_is_compared_with(stage: Stage, store: Path) -> None:
    bad = stage(50.0)
    runs.client(runs.resolved(TrackingConfig(uri="", experiment="register"), store)).set_registered_model_alias(
        bad["model"], CHAMPION, "1"
    )
    assert stage(60.0, change=0.1)["alias"] == CHALLENGER
    assert stage(40.0, change=0.1)["alias"] == CHAMPION


def test_experiment_is_decided_but_not_registered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("params.yaml").read_text()
    config = params.load().tracking
    client = runs.client(config)

    monkeypatch.setenv("DVC_EXP_NAME", "brave-mole")
    first = stage(5.0)
    name = first["model"]
    assert (first["version"], first["alias"], first["created"]) == (None, CHAMPION, False)
    line = capsys.readouterr().out
    assert line.startswith("not registered") and f"would be {name}@champion: first champion, frechet_x 5" in line
    assert "dvc exp apply brave-mole" in line
    assert [model for model in client.search_registered_models() if model.name == name] == []
    assert client.search_model_versions(f"name='{name}'") == []

    monkeypatch.delenv("DVC_EXP_NAME")
    assert stage(5.0)["version"] == 1  # applied, then registered
    before = client.get_model_version(name, "1")
    monkeypatch.setenv("DVC_EXP_NAME", "shy-newt")
    assert "has these weights" in stage(7.0)["reason"]
    better, worse = stage(3.0, change=0.1), stage(6.0, change=0.1)
    assert (better["version"], better["alias"], worse["alias"]) == (None, CHAMPION, CHALLENGER)
    after = client.get_model_version(name, "1")
    assert (after.tags, after.aliases, after.description) == (before.tags, before.aliases, before.description)
    assert len(client.search_model_versions(f"name='{name}'")) == 1

    Path("params.yaml").write_text(text.replace("experiments: false", "experiments: true"))
    assert stage(3.0)["version"] == 2


def test_version_in_a_copied_store_is_read_from_the_copy(stage: Stage, store: Path, tmp_path: Path) -> None:
    address = f"models:/{stage(5.0)['model']}@champion"
    copy = tmp_path / "copied checkout"
    shutil.copytree(store, copy)
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), copy)
    assert copy in model_address.generator_folder(address, config).parents
    (copy / "mlartifacts").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{store}.*not in {copy}/mlartifacts") as error:
        model_address.generator_folder(address, config)
    assert "\n" not in str(error.value)


def test_registered_model_generates_the_same_frames(stage: Stage, store: Path, tiny_generator: Path) -> None:
    import mlflow

    name = stage(5.0)["model"]
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    wanted = sample(load_generator(tiny_generator), seeds=[7, 8], times=frame_times(5)).numpy()

    folder = model_address.generator_folder(f"models:/{name}@champion", config)
    assert np.array_equal(sample(load_generator(folder), seeds=[7, 8], times=frame_times(5)).numpy(), wanted)
    assert model_address.generator_folder(f"models:/{name}/1", config) == folder

    mlflow.set_tracking_uri(config.uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    finally:
        mlflow.set_tracking_uri(None)
    videos = loaded.predict({"seed": [7, 8], "frames": [5, 5]})
    assert videos.dtype == np.uint8 and np.array_equal(videos, wanted)
    assert not np.array_equal(loaded.predict({"seed": [7, 8], "frames": [5, 5]}, params={"truncation": 0.5}), wanted)
    with pytest.raises(UserError, match="frames"):
        loaded.predict({"seed": [7, 8], "frames": [5, 6]})
    model_file = (folder.parents[1] / "MLmodel").read_text()
    assert "loader_module: pipelines.registry.pyfunc_model" in model_file and "cloudpickle" not in model_file
    assert not list(folder.parents[1].rglob("*.pkl"))

    for address, part in [
        (f"models:/{name}@gold", "no alias gold; it has @champion (version 1)"),
        (f"models:/{name}/9", "no version 9; it has 1"),
        ("models:/nobody@champion", "no model nobody"),
        ("models:/x", "must look like"),
    ]:
        with pytest.raises(UserError) as caught:
            model_address.generator_folder(address, config)
        assert part in str(caught.value)


def test_training_in_another_store_gets_a_run_in_this_one(stage: Stage, store: Path) -> None:
    register.RUN_FILE.write_text(json.dumps({"run_id": "0" * 32}))
    result = stage(5.0)
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    run = runs.client(config).get_run(result["run_id"])
    assert run.info.run_name == f"register {result['model']}" and run.info.status == "FINISHED"
    assert run.data.tags["trained_in"] == "0" * 32 and run.data.tags["registered"] == f"{result['model']}/1"


# The file MLmodel as commit 2b6f9dc wrote it, without ids, time and size.
EARLIER_MLMODEL = """\
flavors:
  python_function:
    code: null
    data: data/generator
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: pipelines.registry.pyfunc_model
    python_version: 3.11.7
    streamable: false
is_signature_from_type_hint: false
mlflow_version: 3.17.2
prompts: null
signature:
  inputs: '[{"type": "long", "name": "seed", "required": true}, {"type": "long", "name":
    "frames", "required": false}, {"type": "long", "name": "label", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, -1,
    3, 16, 16]}}]'
  params: '[{"name": "truncation", "default": 1.0, "shape": null, "type": "double"}]'
type_hint_from_example: false
"""


def test_version_registered_before_the_restructuring_loads(store: Path, tmp_path: Path, tiny_generator: Path) -> None:
    import mlflow

    shutil.copytree(tiny_generator, tmp_path / "model" / "data" / "generator")
    (tmp_path / "model" / "MLmodel").write_text(EARLIER_MLMODEL)
    config = runs.resolved(TrackingConfig(uri="", experiment="register"), store)
    runs.client(config).create_registered_model("earlier")
    runs.client(config).create_model_version("earlier", source=(tmp_path / "model").as_uri())
    folder = model_address.generator_folder("models:/earlier/1", config)
    wanted = sample(load_generator(folder), seeds=[7], times=frame_times(5), truncation=0.7).numpy()
    loaded = mlflow.pyfunc.load_model(str(folder.parents[1]))
    assert np.array_equal(loaded.predict({"seed": [7], "frames": [5]}, params={"truncation": 0.7}), wanted)


def test_missing_or_broken_file_is_named(stage: Stage) -> None:
    register.METRICS.write_text("{}")
    with pytest.raises(UserError, match=r"metrics/evaluation\.json: holds no metric"):
        register.main()
    register.METRICS.write_text("{")
    with pytest.raises(UserError, match=r"is not JSON .*line 1"):
        register.main()
    register.METRICS.unlink()
    with pytest.raises(UserError, match=r"metrics/evaluation\.json: no such file; run `dvc repro evaluate`"):
        register.main()
    assert not register.RESULT.exists()
    register.RUN_FILE.unlink()
    with pytest.raises(UserError, match=r"run\.json: missing, or holds no run id; run `dvc repro train`"):
        register_with_metrics()
    (register.GENERATOR / "weights.pt").rename("elsewhere.pt")
    with pytest.raises(UserError, match=r"weights\.pt: missing; run `dvc repro evaluate`"):
        register_with_metrics()


def register_with_metrics() -> None:
    content = {"metric": "m", "m": {"mean": 1}, "data_digest": "d", "detector_digest": "t"}
    register.METRICS.write_text(json.dumps({**content, "protocol_text": "p", "seed": 0, "truncation": 1.0}))
    register.main()
