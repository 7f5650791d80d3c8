"""Presets: each a whole, valid file with the spec's numbers; how one takes the place of params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines import cli, dry_run, params, preset
from tests.conftest import ROOT

PAPER = ["kinetics_food", "sky_128", "sky_16", "taichi_hd", "ucf101_128", "ucf101_256"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_papers_runs_are_there() -> None:
    assert set(PAPER) <= set(preset.names())


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_preset_says_what_the_spec_says(name: str) -> None:
    loaded = params.load(preset.find(name))
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


@pytest.mark.parametrize("name", preset.names())
def test_renewing_a_preset_keeps_its_values(name: str, tmp_path: Path) -> None:
    """`python -m pipelines.preset` brings comments and new keys of params.yaml into it."""
    path = preset.find(name)
    again = tmp_path / "again.yaml"
    again.write_text(preset.refreshed(path, (ROOT / "params.yaml").read_text()))
    assert params.load(again) == params.load(path)


def test_putting_its_own_values_changes_nothing() -> None:
    text = (ROOT / "params.yaml").read_text()
    assert preset.put(text, params.read(ROOT / "params.yaml")) == text


def test_a_preset_takes_the_place_and_comments_stay(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "params.yaml"
    path.write_text("# mine\n" + path.read_text().replace("# initial weights and every later draw", "# my seed"))
    before = path.read_text()
    cli.main(["preset", "sky_128", "--show"])
    assert path.read_text() == before and "would change" in capsys.readouterr().out
    cli.main(["preset", "sky_128"])
    shown = capsys.readouterr().out
    assert "-  frames: 16 " in shown and "+  frames: 128 " in shown and "params.yaml: is now preset sky_128" in shown
    assert params.load(path) == params.load(preset.find("sky_128"))
    text = path.read_text()
    assert text.startswith("# mine\n") and "# my seed" in text
    cli.main(["preset", "sky_128"])
    assert capsys.readouterr().out == "params.yaml: is preset sky_128\n"


def test_without_a_file_the_preset_is_copied(tmp_path: Path) -> None:
    preset.apply("taichi_hd", tmp_path / "params.yaml", write=True)
    assert params.load(tmp_path / "params.yaml").source.name == "taichi_hd"


def test_presets_are_listed_and_unknown_ones_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["preset"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("sky_16", "ucf101_256"))
    with pytest.raises(SystemExit) as caught:
        cli.main(["preset", "sky16"])
    assert caught.value.code == 2 and "nearest is sky_16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [("", '""'), ("a b", "a b"), ("yes", '"yes"'), ("1.5", '"1.5"'), ("a,b", '"a,b"'), (True, "true"), (0.5, "0.5")],
)
def test_values_come_back_from_yaml(value: object, text: str, tmp_path: Path) -> None:
    assert preset.written(value) == text
    (tmp_path / "x.yaml").write_text(f"a:\n  b: {text}\n")
    assert params.read(tmp_path / "x.yaml")["a"]["b"] == value


def test_a_dry_run_tells_sizes_and_time(write_params: object) -> None:
    path = write_params({"model.channel_max": 4, "training.micro_batch": 4, "training.batch_size": 8})  # type: ignore[operator]
    loaded = params.load(path)
    model = dry_run.model_of(loaded)
    text = dry_run.show(loaded, model)
    from digan.models.generator import Generator

    assert "  batch_size: 8\n" in text and "clips a second" in text
    count = sum(p.numel() for p in Generator(model).parameters())
    assert f"{count:,}".replace(",", " ") in text


def test_the_published_sizes(write_params: object) -> None:
    """63.5 million parameters at 128x128, as the paper's model has (tests/digan/test_parity.py has its numbers)."""
    loaded = params.load(preset.find("ucf101_128"))
    assert round(dry_run.counts(dry_run.model_of(loaded))["generator"] / 1e6, 1) == 63.5


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UserError, match=r"training\.speed"):
        preset.put((ROOT / "params.yaml").read_text(), {"training": {"speed": 1}})
