"""The judge of generated shapes, on rendered ones whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import toy_shapes
from pipelines.sources import toy


@pytest.mark.parametrize("shape", toy.SHAPES)
def test_fit_finds_the_shape(shape: str) -> None:
    videos = toy_shapes.real([f"leaf_{shape}"], 1, [0, 15], 32)[f"leaf_{shape}"]
    for frame in videos[0]:
        fit = toy_shapes.fit(toy_shapes.object_of(frame, toy.COLORS["leaf"]), shape)
        assert fit.shape == shape and fit.overlap > 0.82, fit


def test_two_half_objects_fit_no_shape() -> None:
    disc = toy_shapes.cover("disc", 0, 0, 0.6, 32)
    torn = np.concatenate([disc[:, 10:20], np.zeros((32, 12)), disc[:, 10:20]], axis=1)
    fit = toy_shapes.fit(torn, "disc")
    assert fit.overlap < 0.7 and fit.stray > 0.15, fit


@pytest.mark.parametrize("number", range(4))
def test_center_is_near_the_labeled_position(number: int) -> None:
    """Near: the background's shading draws it down a little."""
    label = toy.draw_label(3, number)
    video, positions = toy.render(label), toy.positions(label)
    for frame in (0, toy.FRAMES - 1):
        found = toy_shapes.centre(toy_shapes.object_of(video[frame], toy.COLORS[label["colour"]]))
        assert np.abs(found - positions[frame]).max() < 0.09


def test_goes_distinguishes_directions() -> None:
    for way in toy.HEADINGS:
        label = toy.draw_label(3, 0, [f"coral_disc_{way}"])
        moved = np.diff(toy.positions(label)[[0, -1]], axis=0)[0]
        assert [each for each in toy.HEADINGS if toy_shapes.goes(moved, each)] == [way]
    assert not any(toy_shapes.goes(np.zeros(2), way) for way in toy.HEADINGS)
