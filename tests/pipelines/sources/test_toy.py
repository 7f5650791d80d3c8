from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from digan.errors import UserError
from pipelines import exit_status
from pipelines.sources import SourceConfig, open_source, synthetic_files, toy
from pipelines.video import decoder
from tests.conftest import source_config
from tests.pipelines.sources.built_in_files import files_of


def config(**changes: object) -> SourceConfig:
    return source_config(toy={"videos": 12, "seed": 3, **changes})


def test_equal_seeds_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files_of(config(), tmp_path / "a", monkeypatch)
    assert len(first) == 12
    assert first == files_of(config(), tmp_path / "b", monkeypatch)
    fewer = files_of(config(videos=6), tmp_path / "c", monkeypatch)
    assert fewer.items() < first.items()
    other = files_of(config(seed=4), tmp_path / "d", monkeypatch)
    assert not set(other.values()) & set(first.values())


def test_files_are_kept_until_something_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = open_source(config())
    before = [each.path.stat().st_mtime_ns for each in found]
    assert [each.path.stat().st_mtime_ns for each in open_source(config())] == before
    found[5].path.unlink()
    assert all(each.path.is_file() for each in open_source(config()))
    assert not [path for path in (tmp_path / "outputs/raw/toy").iterdir() if path.name.startswith(".")]


def test_file_shows_what_its_label_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for each in open_source(config()):
        decoded = decoder.decode(each.path)
        frames = np.stack(list(decoded.frames)).astype(int)
        assert (decoded.decoder, decoded.container.codec) == ("pyav", "h264")
        label = json.loads(each.path.with_suffix(".json").read_text())
        assert each.class_name == f"{label['colour']}_{label['shape']}" and each.name.startswith(each.class_name + "/")
        assert frames.shape == (toy.FRAMES, toy.SIZE, toy.SIZE, 3)
        assert np.abs(frames - toy.render(label)).mean() < 3
        # The object, found by its distance from the background, is where the label puts it.
        background = np.array(toy.BACKGROUNDS[label["background"]])
        shows = np.abs(frames - background).max(axis=-1) > 45
        centers = toy.positions(label)
        for number in (0, 8, toy.FRAMES - 1):
            rows, columns = np.nonzero(shows[number])
            center = np.array([columns.mean(), rows.mean()]) / toy.SIZE * 2 - 1
            assert np.abs(center - centers[number]).max() < 0.12, label
            assert columns.min() > 0 and columns.max() < toy.SIZE - 1 and rows.min() > 0 and rows.max() < toy.SIZE - 1


def test_every_object_stays_inside_and_moves_smoothly() -> None:
    labels = [toy.draw_label(0, number) for number in range(400)]
    for label in labels:
        path = toy.positions(label)
        assert np.abs(path).max() + label["size"] < 1.0
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        assert steps.sum() > 0.2, label
        assert steps.max() < 0.3, label
    assert {label["shape"] for label in labels} == set(toy.SHAPES)
    assert {label["path"] for label in labels} == set(toy.PATHS)
    assert {label["colour"] for label in labels} == set(toy.COLORS)


@pytest.mark.parametrize("shape", toy.SHAPES)
def test_shapes_have_soft_edges_and_fill_their_radius(shape: str) -> None:
    axis = np.linspace(-1.2, 1.2, 97)
    x, y = np.meshgrid(axis, axis)
    distances = toy.distance(shape, x, y)
    radius = np.hypot(x, y)[distances < 0].max()
    assert 0.85 < radius < 1.15
    assert np.abs(np.gradient(distances, axis, axis)).max() < 1.2  # a distance: edges are equally soft everywhere


def test_path_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("a file where the folder has to be")
    with pytest.raises(OSError, match="outputs/raw/toy/seed3") as caught:
        open_source(config())
    assert exit_status.text_of(caught.value) is not None


@pytest.mark.parametrize(("key", "value"), [("videos", 1), ("seed", -1)])
def test_impossible_values_name_their_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^source\.toy\.{key}={value}: "):
        config(**{key: value})


def test_only_classes_selects_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = open_source(config())[0].class_name
    assert {
        each.class_name for each in open_source(source_config(toy={"videos": 12, "seed": 3}, only_classes=name))
    } == {name}


def test_classes_restricts_the_videos_to_equally_many_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = open_source(config(classes="sky_ring, coral_post"))
    assert Counter(each.class_name for each in found) == {"sky_ring": 6, "coral_post": 6}
    assert {each.class_name for each in open_source(config())} > {
        "sky_ring",
        "coral_post",
    }  # the others are created again
    with pytest.raises(UserError, match=r"^source\.toy\.classes: coral_cube is no class of the toy; nearest is coral_"):
        config(classes="coral_cube")  # when the parameters are read, before anything starts


def test_full_disk_is_reported_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, video: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "output")  # as PyAV raises it

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthetic_files, "write_video", full)
    with pytest.raises(OSError, match=r"outputs/raw/toy/seed3"):
        open_source(config())
    assert not list((tmp_path / "outputs/raw/toy").iterdir())


def test_objects_of_a_class_with_a_heading_move_that_way() -> None:
    classes = [name for name in toy.CLASSES if name.count("_") == 2]
    assert len(classes) == 64
    paths, slants = set(), []
    for number in range(4 * len(classes)):
        label = toy.draw_label(0, number, classes)
        assert toy.class_of(label) == classes[number % len(classes)]
        moved = np.diff(toy.positions(label)[[0, -1]], axis=0)[0]
        rightward, downward = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}[label["way"]]
        along, aside = moved @ [rightward, downward], abs(moved @ [downward, rightward])
        assert along > 0.4 and aside < along, label
        paths.add(label["path"])
        slants.append(aside / along)
    assert paths == {"line", "wave"} and max(slants) > 0.3


def test_star_matches_several_classes() -> None:
    expected = ("sky_bar", *(f"sky_bar_{heading}" for heading in ("right", "down", "left", "up")))
    assert toy.classes_in("sky_bar, sky_bar_*") == expected
    assert toy.classes_in("leaf_*_up, leaf_disc_up") == ("leaf_disc_up", "leaf_ring_up", "leaf_bar_up", "leaf_post_up")
    with pytest.raises(UserError, match=r"^source\.toy\.classes: sky_cube_\* is no class of the toy"):
        config(classes="sky_cube_*")


def test_heading_changes_nothing_else_about_a_video() -> None:
    plain, with_heading = toy.draw_label(5, 2, ["sky_bar"]), toy.draw_label(5, 2, ["sky_bar_up"])
    different = {key for key in with_heading if with_heading[key] != plain.get(key)}
    assert different <= {"way", "path", "direction"}
