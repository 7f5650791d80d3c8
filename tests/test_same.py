"""`make same` on small examples, and the digests in tests/fixtures/same.json."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from tests import same
from tests.conftest import clips_config, shards_config


def test_override_uses_the_key_of_the_tree() -> None:
    values = YAML(typ="safe", pure=True).load(same.ROOT / "params.yaml")
    same.override(values)
    assert values["training"]["clips"] == 400
    assert values["cluster"]["workers"] == 1


def test_override_of_a_missing_key_names_the_keys() -> None:
    with pytest.raises(SystemExit, match=r"source\.name"):
        same.override({"training": {"clips": 1}})


def test_changed_missing_and_new_digests_are_named() -> None:
    lines = same.compare({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"})
    assert lines == ["b: base 2, this tree 9", "c: base 3, this tree missing", "d: base missing, this tree 4"]


def test_tensor_digest_depends_on_names_and_on_the_last_bit(tmp_path: Path) -> None:
    state = {"weight": torch.ones(3)}
    changed = {"weight": torch.nextafter(torch.ones(3), torch.full((3,), 2.0))}
    digests = []
    for number, each in enumerate((state, state, changed, {"bias": torch.ones(3)})):
        torch.save(each, tmp_path / f"{number}.pt")
        digests.append(same.tensors_digest(tmp_path / f"{number}.pt"))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_metrics_are_compared_under_their_new_names() -> None:
    old = {"metric": "frechet", "frechet": {"mean": 1.5, "floor": 0.5, "draws": [1.0, 2.0]}, "weights_digest": "x"}
    assert dict(same.figures(old)) == {
        "frechet.mean": "1.5",
        "frechet.real_vs_real": "0.5",
        "frechet.draws[0]": "1.0",
        "frechet.draws[1]": "2.0",
    }


def test_toy_shards_equal_the_fixture(tmp_path: Path) -> None:
    from pipelines.ingest import ingest
    from tests.conftest import source_config

    fixture = json.loads(same.FIXTURE.read_text())
    here = {name: version(name).partition("+")[0] for name in fixture["software"]}
    if here != fixture["software"]:
        pytest.skip(f"the fixture was made with {fixture['software']}, here are {here}")
    values = YAML(typ="safe", pure=True).load(same.ROOT / "params.yaml")
    same.override(values)
    changes = {key: value for key, value in values["source"].items() if key != "name"}
    ingest(
        source_config(**changes),
        clips_config(**values["clips"]),
        shards_config(**values["shards"]),
        tmp_path,
        jobs=1,
    )
    found = {f"shard {path.relative_to(tmp_path)}": same.sha256(path.read_bytes()) for path in tmp_path.rglob("*.tar")}
    found["index"] = same.index_digest(tmp_path / "index.json")
    assert found == fixture["digests"]
