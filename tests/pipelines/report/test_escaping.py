"""Class names and values are text in every page and model card, whatever signs they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digan.generator_io import load_generator
from pipelines.evaluation import outputs
from pipelines.evaluation.embedding import Snapshot
from pipelines.evaluation.gallery import Gallery, NearestClips
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult
from pipelines.ingest import ingest
from pipelines.registry.model_card import model_card
from pipelines.report import data_page
from pipelines.sweeps import sweep_page
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, open_sweep
from tests.conftest import clips_config, evaluation_config, shards_config, source_config
from tests.pipelines.evaluation.test_outputs import CONTENT, NONE
from tests.pipelines.sources.test_sources import write_video
from tests.pipelines.sweeps.small_sweep import LENGTH, trial

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover=alert(1) x='",
    "</style></h3><b>&lt;$x$",
    "{{ 7 * 7 }}{% raw %}",
)


class Reader(HTMLParser):
    """The tags, the names of attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = self.values = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += "\n".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def check(page: str, *shown: str, scripts: int = 0) -> None:
    found = Reader(page)
    assert found.tags.count("script") == scripts and "b" not in found.tags
    assert not [name for name in found.attributes if name.startswith("on")]
    assert [name for name in shown if name not in found.text] == []


def test_data_page(tmp_path: Path) -> None:
    rows = []
    for number in range(2 * len(HOSTILE)):
        write_video(tmp_path / f"raw/{number}.mp4", "libx264", frames=4)
        name = HOSTILE[number // 2].replace('"', '""')
        rows.append(f'{number}.mp4,"{name}",{("train", "val")[number % 2]}')
    (tmp_path / "labels.csv").write_text("file,class,split\n" + "\n".join(rows) + "\n")
    write_video(tmp_path / "raw/<script>alert(1).mp4", "libx264", frames=2)  # rejected by name: too short
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("<script>alert(1).mp4,x,train\n")
    labels = {"labels": str(tmp_path / "labels.csv")}
    source = source_config(name="folder", folder=labels, path=str(tmp_path / "raw"), classes=True)
    ingest(source, clips_config(resolution=32, frames=4), shards_config(), tmp_path / "shards", jobs=1)
    page = data_page.write(tmp_path / "shards", tmp_path / "data.html").read_text()
    check(page, *HOSTILE, "<script>alert(1).mp4")


@pytest.fixture
def measured(tmp_path: Path) -> Measurement:
    names = dict.fromkeys(("metric", "protocol_text", "detector", *outputs.DIGESTS), HOSTILE[0])
    values: dict[str, Any] = {**CONTENT, **names, HOSTILE[0]: CONTENT["frechet_transnetv2"]}
    (tmp_path / "result.json").write_text(json.dumps(values))
    return Measurement(
        result=EvaluationResult.read(tmp_path / "result.json", source="test", remedy=""),
        curve=[{"clips_seen": 1000 * i, "value": 50 / i, "low": 45 / i, "high": 55 / i} for i in (1, 2)],
        best=Snapshot(folder=tmp_path, clips_seen=2000, digest=""),
        real=ReferenceFeatures(reference=NONE, real_vs_real=NONE, index={"notes": list(HOSTILE)}),
        generated=np.empty((0, 1)),
    )


def test_evaluation_page(tiny_generator: Path, measured: Measurement, tmp_path: Path) -> None:
    writer = Gallery(load_generator(tiny_generator), evaluation_config(), 16, tmp_path, list(HOSTILE))
    for file in writer.titles:
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "curves.csv").write_text(f"clips_seen,loss/{HOSTILE[0]}\n1000,1\n2000,1.5\n")
    near = NearestClips(positions=[], generated=2.0, held_out=4.0)
    params = {"source": {"only_classes": HOSTILE[1], "path": HOSTILE[2]}, HOSTILE[3]: 1}
    page = outputs.render_page(measured, writer, near, params=params, training_curves=tmp_path / "curves.csv")
    check(page, *HOSTILE)


def test_sweep_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = open_sweep(tmp_path / "tune", {"tune": {"seed": 0}})
    parameter = SearchParameter(name="training.augment", kind="choice", values=HOSTILE)
    for number, name in enumerate(HOSTILE):
        one = trial(number, 9.0 + number, 8.0 + number, state=FAILED, reason=name)
        measures = tuple(replace(measure, values={parameter.name: name}) for measure in one.measures)
        records.put(replace(one, values={parameter.name: name}, measures=measures))
    page = sweep_page.write(records, [parameter], "metric", 8, LENGTH).read_text()
    check(page, *HOSTILE, scripts=1)  # the page's own


def test_model_card(measured: Measurement) -> None:
    result = measured.result
    params = {"source": {"name": HOSTILE[0]}, "training": {"precision": HOSTILE[1]}}
    card = model_card(HOSTILE[2] + HOSTILE[3], result.to_json(), result.markdown(), {}, params, HOSTILE[0])
    check(card, HOSTILE[3], scripts=0)
    assert Reader(card).tags == [] and "{verdict}" in card
