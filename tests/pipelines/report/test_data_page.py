"""The data page: self-contained, with clips of every class and every rejected file."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pipelines.ingest import ingest
from pipelines.report import data_page
from tests.conftest import clips_config, shards_config, source_config


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    for number in range(12):
        path = folder / f"raw/{'cats & dogs' if number % 2 else 'birds'}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.full((32, 8 * 32, 3), 200 if number % 2 else 40, np.uint8)
        frames[..., 2] = np.repeat(np.arange(8) * 30, 32)
        Image.fromarray(frames).save(path)
    (folder / "raw/birds/<b>bad.png").write_bytes(b"no picture")
    source = source_config(name="frames", frames={"layout": "strips"}, path=str(folder / "raw"))
    ingest(source, clips_config(resolution=32, frames=4, validation_share=0.3), shards_config(), folder / "shards")
    return data_page.write(folder / "shards", folder / "reports/data.html").read_text()


def test_page_loads_no_other_resources(page: str) -> None:
    assert all(address.startswith("data:image/webp;base64,") for address in re.findall(r'src="([^"]*)"', page))
    assert "://" not in page and "<script" not in page and "<link" not in page


def test_page_shows_clips_of_every_class_from_different_videos(page: str) -> None:
    for heading, red in (("birds", 40), ("cats &amp; dogs", 200)):
        part = page.split(f"<h3>{heading}</h3>")[1].split("<h3>")[0].split("<h2>")[0]
        images = re.findall(r'base64,([^"]*)"', part)
        assert len(images) == data_page.CLIPS_PER_CLASS
        for data in images:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
            assert abs(pixels[5, 5, 0] - red) < 12 and pixels[5, -5, 2] > pixels[5, 5, 2] + 60  # early frames left


def test_counts_and_rejected_files_are_shown(page: str) -> None:
    assert "12 used of 13, 1 rejected" in page
    assert "<th>birds/&lt;b&gt;bad.png</th><td>" in page and "<b>bad" not in page
    assert re.search(r"""<td>32x32</td><td class="count">12</td>""", page)


def test_many_distinct_counts_are_grouped_into_ranges() -> None:
    counts = data_page._ranges({str(n): 1 for n in range(10, 500)})
    assert len(counts) <= data_page.MAX_BARS and sum(counts.values()) == 490
    assert data_page._ranges({"7": 2, "3": 1}) == {"3": 1, "7": 2}
