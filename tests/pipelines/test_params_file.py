"""Editing params.yaml: values change, everything else stays byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from digan.errors import UserError
from pipelines.params_file import read, set_values
from tests.conftest import ROOT

WHOLE = (ROOT / "params.yaml").read_text()


def test_setting_the_same_values_changes_no_byte() -> None:
    content = read(ROOT / "params.yaml")
    content["tune"].pop("space")
    values = {f"{name}.{key}": value for name, section in content.items() for key, value in section.items()}
    assert set_values(WHOLE, values, "params.yaml") == WHOLE


def test_only_edited_lines_change_and_comments_keep_their_column() -> None:
    values = {
        "training.generator_lr": 0.0025,
        "training.horizontal_flip": True,
        "source.name": "folder",
        "source.path": "a b",
    }
    after = set_values(WHOLE, values, "params.yaml")
    pairs = [(a, b) for a, b in zip(WHOLE.splitlines(), after.splitlines(), strict=True) if a != b]
    assert len(pairs) == 4
    assert all(a.index("#") == b.index("#") and a.partition("#")[2] == b.partition("#")[2] for a, b in pairs)
    assert [b.partition("#")[0].strip() for _, b in pairs] == [
        "name: folder",
        'path: "a b"',
        "generator_lr: 0.0025",
        "horizontal_flip: true",
    ]


@pytest.mark.parametrize(
    ("old", "value", "text"),
    [
        ("plain", "sky/a-1.b", "sky/a-1.b"),
        ("plain", "yes", '"yes"'),
        ("plain", "1.5", '"1.5"'),
        ("plain", "a,b", '"a,b"'),
        ("plain", "#x: y", '"#x: y"'),
        ("'quoted'", "it's", "'it''s'"),
        ('"quoted"', "plain", '"plain"'),
        ("0.5", 1e-5, "1e-05"),
        ("1", True, "true"),
        ("2.0", 2, "2.0"),
    ],
)
def test_new_value_has_the_style_of_the_old_one_and_is_read_back(
    old: str, value: Any, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(set_values(f"a: # first\n  b: {old}  # second\n", {"a.b": value}, path))
    assert path.read_text() == f"a: # first\n  b: {text}  # second\n" or path.read_text().startswith(
        f"a: # first\n  b: {text} "
    )
    assert read(path)["a"]["b"] == value


@pytest.mark.parametrize("name", ["training.speed", "trainig.seed", "training.seed.deeper"])
def test_unknown_key_is_rejected(name: str) -> None:
    with pytest.raises(UserError, match=f"params.yaml: has no key {name}"):
        set_values(WHOLE, {name: 1}, "params.yaml")


def test_invalid_yaml_is_rejected() -> None:
    with pytest.raises(UserError, match=r"p\.yaml, line 2: not valid YAML"):
        set_values("a: 1\n b: [", {"a": 2}, "p.yaml")
