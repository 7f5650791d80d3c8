from __future__ import annotations

from digan.data.splits import shuffled, split_of, stable_fraction

NAMES = [f"class{number % 7}/video_{number:05d}.mp4" for number in range(5000)]


def test_split_has_the_requested_share() -> None:
    held_out = {name for name in NAMES if split_of(name, 0.2) == "val"}
    assert 0.18 < len(held_out) / len(NAMES) < 0.22
    assert {split_of(name, 0.2) for name in NAMES} == {"train", "val"}


def test_split_of_a_name_is_stable() -> None:
    assert stable_fraction("a/b.mp4", "split") == 0.41850751416107457  # never changes: published splits hang on it
    larger = {name for name in NAMES if split_of(name, 0.3) == "val"}
    assert {name for name in NAMES if split_of(name, 0.2) == "val"} < larger


def test_shuffled_mixes_folders_and_ignores_input_order() -> None:
    mixed = shuffled(NAMES)
    assert mixed == shuffled(NAMES[::-1])
    assert sorted(mixed) == sorted(NAMES)
    assert mixed[:50] != NAMES[:50]
    assert len({name.split("/")[0] for name in mixed[:50]}) == 7
