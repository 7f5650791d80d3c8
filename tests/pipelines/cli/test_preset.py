"""Presets: their values, and applying them to params.yaml."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import params
from pipelines.cli import main, preset
from pipelines.cluster import dry_run
from tests.conftest import ROOT

# The values of each preset at commit 2b6f9dc: SHA-256 of their JSON by dotted name, 16 digits.
VALUES = {
    "kinetics_food": "082c47522381e75f",
    "showcase": "eb2b4a547713efb1",
    "sky_128": "08447580a948f871",
    "sky_16": "9140532d75469164",
    "taichi_hd": "32e4c9d6a82a4fce",
    "ucf101_128": "4bb06e50c3b05358",
    "ucf101_256": "52fc723391f45bd6",
}
ADDED = {  # keys that came later
    *("source.decoder", "registry.max_ratio", "registry.experiments", "model.drift", "training.start_from"),
    *("source.sky_synthetic.videos", "source.sky_synthetic.classes", "source.sky_synthetic.seed"),
}
PAPER = ["kinetics_food", "sky_128", "sky_16", "taichi_hd", "ucf101_128", "ucf101_256"]


def load(name: str) -> params.Params:
    sections: dict[str, Any] = {}
    for key, value in preset.values(name).items():
        *parents, last = key.split(".")
        node = sections
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return params.compose(sections, name)


def dotted(sections: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in sections.items():
        if isinstance(value, dict) and prefix + key != preset.KEPT:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def under_old_names(values: dict[str, Any]) -> dict[str, Any]:
    old = {new: key for key, new in params.RENAMED_KEYS.items()}
    split = values.get(f"source.{values['source.name']}.split", "train")  # was one key for all data sets
    splits = {key for key in values if key.startswith("source.") and key.endswith(".split")}
    kept = {key: value for key, value in values.items() if key not in splits | ADDED}
    return {**{old.get(key, key): value for key, value in kept.items()}, "source.split": split}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_presets_of_the_paper_exist() -> None:
    assert set(PAPER) <= set(preset.names())


@pytest.mark.parametrize("name", PAPER)
def test_paper_preset_has_the_papers_values(name: str) -> None:
    loaded = load(name)
    training, model = loaded.training, loaded.model
    assert (training.batch_size, training.clips, training.augment) == (64, 25_000_000, "color,translation")
    assert (training.r1_gamma, training.r1_interval, training.ema_half_life, training.ema_ramp) == (1, 16, 20_000, 0.05)
    assert (training.generator_lr, training.discriminator_lr, training.generator_interval) == (0.0025, 0.0025, 4)
    assert (model.channel_base, model.channel_max, model.mapping_layers, model.modulation_rank) == (32768, 512, 2, 10)
    assert loaded.clips.resolution == (256 if name == "ucf101_256" else 128)
    assert loaded.clips.frames == (128 if name == "sky_128" else 16)
    assert loaded.clips.frame_stride == (4 if name == "taichi_hd" else 1)
    assert loaded.source.name == {"ucf101": "ucf101", "sky": "sky_timelapse"}.get(name.split("_")[0], name)
    wanted = {"ucf101_256": "stylegan-v", "sky_128": "digan-128"}.get(name, "digan")
    assert (loaded.evaluation.protocol, loaded.evaluation.videos, loaded.evaluation.draws) == (wanted, 0, 0)


@pytest.mark.parametrize("name", VALUES)
def test_values_of_a_preset_are_those_at_commit_2b6f9dc(name: str) -> None:
    values = under_old_names(dict(dotted(load(name).as_dict())))
    assert hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16] == VALUES[name]


@pytest.mark.parametrize("name", preset.names())
def test_preset_is_a_complete_valid_file_with_comments(name: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(preset.text(name))
    assert params.load(path) == load(name)
    bare = [line for line in path.read_text().splitlines() if line.startswith("  ") and "#" not in line]
    assert bare == []


def test_demo_preset_is_the_projects_params_yaml() -> None:
    """After a change of params.yaml: cp params.yaml pipelines/presets/demo.yaml."""
    assert preset.find("demo").read_text() == (ROOT / "params.yaml").read_text()


def test_applying_a_preset_keeps_comments(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "params.yaml"
    path.write_text(
        "# mine\n" + path.read_text().replace("# seed of the initial weights and of every random draw", "# my seed")
    )
    before = path.read_text()
    main.main(["preset", "sky_128", "--show"])
    assert path.read_text() == before and "would change" in capsys.readouterr().out
    main.main(["preset", "sky_128"])
    shown = capsys.readouterr().out
    assert "-  frames: 16 " in shown and "+  frames: 128 " in shown and "params.yaml: is now preset sky_128" in shown
    assert params.load(path) == load("sky_128")
    text = path.read_text()
    assert text.startswith("# mine\n") and "# my seed" in text
    main.main(["preset", "sky_128"])
    assert capsys.readouterr().out == "params.yaml: is preset sky_128\n"


def test_preset_after_another_equals_the_preset_alone(project: Path) -> None:
    path = project / "params.yaml"
    for name in ("showcase", "sky_128", "demo"):
        preset.apply(name, path, write=True)
        assert params.load(path) == load(name)


def test_applying_a_preset_keeps_the_search_space(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(
        path.read_text().replace("training.r1_gamma: {loguniform: [0.1, 10]}", "training.r1_gamma: {choice: [1]}")
    )
    preset.apply("sky_128", path, write=True)
    assert params.load(path).tune.space["training.r1_gamma"] == {"choice": [1]}


def test_missing_file_is_created(tmp_path: Path) -> None:
    preset.apply("taichi_hd", tmp_path / "params.yaml", write=True)
    assert params.load(tmp_path / "params.yaml").source.name == "taichi_hd"


def test_presets_are_listed_and_unknown_names_rejected(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["preset"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("sky_16", "ucf101_256"))
    with pytest.raises(SystemExit) as caught:
        main.main(["preset", "sky16"])
    assert caught.value.code == 2 and "nearest is sky_16" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main.main(["preset", "zzz"])
    assert "preset zzz: unknown; choose one of demo, " in capsys.readouterr().err


def test_dry_run_shows_sizes_and_time(write_params: object) -> None:
    path = write_params({"model.channel_max": 4, "training.micro_batch": 4, "training.batch_size": 8})  # type: ignore[operator]
    loaded = params.load(path)
    model = loaded.model.config(resolution=loaded.clips.resolution, classes=1)
    text = dry_run.show(loaded.training, model, loaded.cluster)
    from digan.models.generator import VideoGenerator

    assert "clips a second" in text
    count = sum(p.numel() for p in VideoGenerator(model).parameters())
    assert f"{count:,}".replace(",", " ") in text


def test_published_preset_has_63_million_parameters(write_params: object) -> None:
    """63.5 million parameters at 128x128, as the paper's model has (tests/digan/models/test_parity.py has its numbers)."""
    loaded = load("ucf101_128")
    model = loaded.model.config(resolution=loaded.clips.resolution, classes=int(loaded.source.classes))
    assert round(dry_run.counts(model)["generator"] / 1e6, 1) == 63.5
