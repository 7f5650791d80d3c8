"""The remedy for an unknown name: a near name only where there is one."""

from __future__ import annotations

import pytest

from digan.errors import listed, suggestion

NAMES = ("coral_disc", "leaf_ring", "sky_bar")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("coral_dics", "nearest is coral_disc"),
        ("LEAF_RING", "nearest is leaf_ring"),
        ("zebra", "choose one of coral_disc, leaf_ring, sky_bar"),
        ("7", "choose one of coral_disc, leaf_ring, sky_bar"),
        ("", "choose one of coral_disc, leaf_ring, sky_bar"),
    ],
)
def test_near_name_or_all_names(name: str, remedy: str) -> None:
    assert suggestion(name, NAMES) == remedy


def test_long_lists_are_cut() -> None:
    names = [f"class {number}" for number in range(101)]
    assert suggestion("zzz", names).endswith("class 31 and 69 more")
    assert listed(names[:32]).endswith("class 31")
