"""The built-in sky: its files, its truth and its picture."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from digan.errors import UserError
from pipelines.sources import SourceConfig, open_source
from pipelines.sources import sky_synthetic as sky
from pipelines.video import decoder
from tests.conftest import source_config
from tests.pipelines.sources.built_in_files import files_of


def config(**changes: object) -> SourceConfig:
    return source_config(name="sky_synthetic", sky_synthetic={"videos": 4, "seed": 3, "classes": "", **changes})


def with_classes(names: str) -> SourceConfig:
    return source_config(name="sky_synthetic", classes=True, sky_synthetic={"videos": 4, "seed": 0, "classes": names})


def test_equal_seeds_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files_of(config(), tmp_path / "a", monkeypatch)
    assert len(first) == 4
    assert first == files_of(config(), tmp_path / "b", monkeypatch)
    assert files_of(config(videos=2), tmp_path / "c", monkeypatch).items() < first.items()
    assert not set(files_of(config(seed=4), tmp_path / "d", monkeypatch).values()) & set(first.values())


def test_file_shows_what_its_label_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for each in open_source(config()):
        frames = np.stack(list(decoder.decode(each.path).frames)).astype(int)
        label = json.loads(each.path.with_suffix(".json").read_text())
        assert frames.shape == (sky.FRAMES, sky.SIZE, sky.SIZE, 3)
        assert np.abs(frames - sky.render(label)).mean() < 3


def shift(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The shift (x, y) in pixels from one gray picture to another that agrees best, by search."""
    reach = range(-12, 13)
    size = first.shape[0]
    inner = slice(16, size - 16)
    errors = {
        (x, y): np.abs(np.roll(first, (y, x), axis=(0, 1))[inner, inner] - second[inner, inner]).mean()
        for x in reach
        for y in reach
    }
    return np.array(min(errors, key=lambda key: errors[key]))


def test_clouds_move_with_the_wind_and_hills_stand() -> None:
    for number in range(6):
        label = sky.draw_label(0, number) | {"cover": 0.6}
        no_hills = label | {"hills": label["hills"] | {"height": -1.0}}
        # Against a sky of one color: what moves is cloud.
        video = sky.render(no_hills | {"light": {"overcast": 1.0, "day": 0.0, "dusk": 0.0, "dawn": 0.0}})
        gray = video.mean(axis=-1)
        gray = gray - gray.mean(axis=2, keepdims=True)  # without the grading of the sky
        moved = shift(gray[0], gray[1]) / sky.SIZE * (sky.CLIP_FRAMES - 1)
        assert np.abs(moved - label["wind"]).max() < 0.08, label  # a pixel is 0.12
        assert np.hypot(*label["wind"]) == pytest.approx(label["speed"], abs=1e-3)
        ground = sky.render(label)[:, -4:]
        assert (ground == ground[0]).all()
    assert np.abs(np.mean([sky.draw_label(1, number)["wind"] for number in range(400)], axis=0)).max() < 0.1


def test_edges_are_soft_at_any_size() -> None:
    label = sky.draw_label(0, 1)
    large = sky.render(label, size=256, frames=1)[0].astype(float)
    small = sky.render(label, size=64, frames=1)[0].astype(float)
    averaged = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(averaged - small).mean() < 1.5


def test_times_of_day_are_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = open_source(with_classes("day, dusk"))
    assert Counter(each.class_name for each in found) == {"day": 2, "dusk": 2}
    assert all(each.name.startswith(f"{each.class_name}/") for each in found)
    assert sky.draw_label(0, 0, ["dawn"])["wind"] == sky.draw_label(0, 0)["wind"]
    with pytest.raises(UserError, match=r"^source\.sky_synthetic\.classes: night is no class of the sky"):
        with_classes("night")
    with pytest.raises(UserError, match=r"^source\.sky_synthetic\.classes is empty"):
        open_source(with_classes(""))


@pytest.mark.parametrize(("key", "value"), [("videos", 1), ("seed", -1)])
def test_impossible_values_name_their_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^source\.sky_synthetic\.{key}={value}: "):
        config(**{key: value})
