"""Classes without a clip in train are named by listing, ingest, data page and dry run, whatever the reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digan.errors import UserError
from pipelines import listing, train
from pipelines.dataset import class_coverage
from pipelines.dataset.shard_index import read_index
from pipelines.dataset.shard_reader import read_shard
from pipelines.ingest import ingest
from pipelines.report import data_page
from pipelines.storage import file_io
from tests.conftest import WriteParams, clips_config, shards_config, source_config

CLIPS = clips_config(resolution=32, frames=4, validation_share=0.3)


def in_validation(name: str) -> bool:
    """The rule of docs/data.md, calculated here: the hash of a name decides."""
    return int(hashlib.sha256(f"split/{name}".encode()).hexdigest()[:12], 16) / 16**12 < 0.3


def write_strip(path: Path, frames: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, frames * 32, 3), 90, np.uint8)).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty classes of one video; `broken` and `<b>short` whose videos for train are all rejected; one without a problem."""
    folder = tmp_path_factory.mktemp("coverage")
    for number in range(20):
        write_strip(folder / f"raw/class{number:02d}/only.png")
    for number in range(6):
        write_strip(folder / f"raw/<b>short/{number}.png", frames=2)
        write_strip(folder / f"raw/whole/{number}.png")
        (folder / "raw/broken").mkdir(exist_ok=True)
        (folder / f"raw/broken/{number}.png").write_bytes(b"no picture")
    source = source_config(name="frames", frames={"layout": "strips"}, path=str(folder / "raw"), classes=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ingest(source, CLIPS, shards_config(), folder / "outputs/shards")
        data_page.write(folder / "outputs/shards", folder / "reports/data.html")
    return folder


EXPECTED = {f"class{number:02d}" for number in range(20) if in_validation(f"class{number:02d}/only.png")}


def test_the_report_names_exactly_the_classes_whose_label_is_in_no_train_shard(place: Path) -> None:
    index = read_index(place / "outputs/shards")
    trained = {
        sample.meta["category"]
        for shard in index.splits["train"]
        for sample in read_shard(file_io.join(index.address, shard.path), shard)
    }
    without = json.loads((place / "outputs/shards/ingest_report.json").read_text())["classes_without_train_clips"]
    assert set(without) == set(index.classes) - trained == EXPECTED | {"broken", "<b>short"}
    assert EXPECTED and all(without[name] == "1 in the val split" for name in EXPECTED)
    assert without["broken"] == without["<b>short"] == "6 rejected"


def test_the_page_names_them(place: Path) -> None:
    section = (
        (place / "reports/data.html").read_text().split("<h2>Classes without clips in train: ")[1].split("<h2>")[0]
    )
    assert section.startswith(str(len(EXPECTED) + 2)) and "<b>" not in section
    assert all(f"<th>{name}</th>" in section for name in (*EXPECTED, "broken", "&lt;b&gt;short"))


def test_listing_and_dry_run_name_them(
    place: Path, write_params: WriteParams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"source.name": "frames", "source.frames.layout": "strips", "source.path": "raw", "clips.resolution": 32}
    changes |= {"clips.frames": 4, "clips.validation_share": 0.3, "model.channel_max": 4}
    changes |= {"evaluation.detector": "transnetv2"}
    write_params(changes, place)
    monkeypatch.chdir(place)
    listing.main()
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"listing: note: {len(EXPECTED)} classes have no clip in train")
    assert all(f"{name} (1 in the val split)" in line for name in EXPECTED) and "whole" not in line
    monkeypatch.setattr(train, "show", lambda *_: "measured")
    train.main(["--dry-run"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert (
        line.startswith(f"  note: {len(EXPECTED) + 2} classes have no clip in train") and "broken (6 rejected)" in line
    )


def test_no_word_where_classes_are_not_used_or_all_have_clips(place: Path, tmp_path: Path) -> None:
    strips = {"name": "frames", "frames": {"layout": "strips"}, "path": str(place / "raw")}
    few = ",".join([*sorted(EXPECTED)[:1], "whole"])
    for changes in ({"classes": False, "only_classes": few}, {"classes": True, "only_classes": "whole"}):
        ingest(source_config(**strips, **changes), CLIPS, shards_config(), tmp_path)
        assert class_coverage.note(class_coverage.recorded(tmp_path)) == ""


def test_reports_of_before_and_damaged_ones(tmp_path: Path) -> None:
    assert class_coverage.recorded(tmp_path) == {}
    (tmp_path / "ingest_report.json").write_text('{"videos": 3}')
    assert class_coverage.recorded(tmp_path) == {}
    for text in ("[]", '{"videos', '{"classes_without_train_clips": 3}'):
        (tmp_path / "ingest_report.json").write_text(text)
        with pytest.raises(UserError, match=r"ingest_report\.json: is damaged .*; make it again, with python -m"):
            class_coverage.recorded(tmp_path)
