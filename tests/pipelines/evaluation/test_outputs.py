"""The evaluation's page in a real browser: videos play, nothing overflows, nothing is fetched, at a desk and on a phone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from digan.generator_io import load_generator
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.sampling import sample
from pipelines.evaluation import gallery, outputs
from pipelines.evaluation.embedding import Snapshot
from pipelines.evaluation.gallery import Gallery, NearestClips
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult
from tests.browser import browser
from tests.conftest import evaluation_config

NONE = np.empty((0, 1))
VALUES = {"mean": 5.5, "std": 0.2, "low": 5.1, "high": 6.0, "real_vs_real": 1.2, "untrained": 300.0, "infinite": 4.0}
CONTENT: dict[str, Any] = {
    "metric": "frechet_transnetv2",
    "frechet_transnetv2": VALUES,
    "kernel_transnetv2": {"mean": 0.01, "std": 0.001, "real_vs_real": 0.0, "untrained": 1.0},
    "protocol_text": "quick: 256 videos of 16 frames, 3 draws, reals train, uniform over clips, short side and centre crop",
    "clips_seen": 120000,
    "curve_videos": 128,
    "seed": 0,
    "truncation": 1.0,
    "resolution": 32,
    "detector": "transnetv2",
    "is_stand_in": True,
    **dict.fromkeys(outputs.DIGESTS, "0123456789abcdef" * 4),
}


@pytest.fixture(scope="module")
def page(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    writer = Gallery(load_generator(tiny_generator), evaluation_config(), 16, folder, [])
    reference = torch.randint(
        0, 256, (12, 16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    writer.write(reference, reference[:6])
    (folder / "curves.csv").write_text(
        "clips_seen,loss/generator,loss/discriminator,logits/real,logits/fake\n1000,1,2,0.5,-0.5\n2000,1.5,1,1,-1\n"
    )
    (folder / "result.json").write_text(json.dumps(CONTENT))
    measured = Measurement(
        result=EvaluationResult.read(folder / "result.json", source="test", remedy=""),
        curve=[{"clips_seen": 1000 * i, "value": 50 / i, "low": 45 / i, "high": 55 / i} for i in (1, 2, 3)],
        best=Snapshot(folder=folder, clips_seen=120000, digest=""),
        real=ReferenceFeatures(
            reference=NONE, real_vs_real=NONE, index={"notes": ["reference: 256 clips <from> 200 videos"]}
        ),
        generated=NONE,
    )
    text = outputs.render_page(
        measured,
        writer,
        NearestClips(positions=[], generated=2.0, held_out=4.0),
        params={"evaluation": {"protocol": "quick"}, "training": {"clips": 120000}},
        training_curves=folder / "curves.csv",
    )
    (folder / "evaluation.html").write_text(text)
    return folder / "evaluation.html"


def test_stands_alone_and_says_all(page: Path) -> None:
    text = page.read_text()
    assert "://" not in text.replace("http://www.w3.org", "")  # base64 may hold "http" by chance
    assert "<script" not in text and "&lt;from&gt;" in text
    assert text.count('src="data:video/mp4;base64,') == 8 == text.count("<video")
    assert text.count("<svg") == 3
    for part in ("no FVD", "Before 0 and after 1", "128 frames", "One motion, many contents", "Four times the rate"):
        assert part in text, part
    for part in ("t runs from -0.53 to 1.53; ", "Right: 61 frames over", "is 4 (0.50 times)", "may be copying"):
        assert part in text, part
    for part in ("evaluation.protocol", "120000", "0123456789abcdef" * 4, "Is it copying?", "infinitely many"):
        assert part in text, part


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_in_a_browser(page: Path, width: int, height: int) -> None:
    with browser(width, height) as chromium:
        chromium.get(page.as_uri())
        assert chromium.execute_script("return innerWidth") == width
        deadline = time.monotonic() + 30
        script = "return [...document.querySelectorAll('video')].map(v => [v.currentTime, v.readyState, v.error])"
        played: set[int] = set()
        while len(played) < 8 and time.monotonic() < deadline:
            chromium.execute_script("document.querySelectorAll('video').forEach(v => v.play())")
            for number, (now, ready, error) in enumerate(chromium.execute_script(script)):
                assert error is None, number
                if now > 0 and ready >= 2:
                    played.add(number)
            time.sleep(0.2)
        assert len(played) == 8
        wide = chromium.execute_script(
            "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') &&"
            " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.className)"
        )
        assert wide == []
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        hollow = (
            "return [...document.querySelectorAll('video, svg')].filter(e => e.getBoundingClientRect().height < 50)"
        )
        assert chromium.execute_script(f"{hollow}.length") == 0


def test_of_a_class_conditional_generator_each_class_is_shown_under_its_name(tmp_path: Path) -> None:
    config = NetworkConfig(
        resolution=32, channel_base=256, channel_max=8, mapping_layers=1, modulation_rank=2, classes=3
    )
    generator = VideoGenerator(config).reset(generator=torch.Generator().manual_seed(0)).eval()
    writer = Gallery(generator, evaluation_config(), 4, tmp_path, ["disc_left", "ring_up", "bar"])
    writer.each_class()
    assert writer.shown_classes == "all classes: disc_left, ring_up, bar"
    assert (tmp_path / gallery.CLASSES_PLAYING).is_file() and gallery.CLASSES_PLAYING in writer.titles
    with Image.open(tmp_path / gallery.CLASSES) as picture:
        pixels = np.asarray(picture)
    videos = [
        sample(generator, seeds=[writer.seeds[number]], times=writer.times, labels=[number])[0] for number in range(3)
    ]
    side = 2 * 32  # pixels of a frame on the picture
    rows, columns = (0, 1, 0), (0, 0, 1)  # two blocks side by side
    width = (pixels.shape[1] - 10) // 2
    for video, row, column in zip(videos, rows, columns, strict=True):
        right = 10 + (column + 1) * width - 10 - 2  # where the block's last frame ends
        top = 10 + row * (side + 2)
        found = pixels[top : top + side : 2, right - side : right : 2]
        assert (found == video[-1].permute(1, 2, 0).numpy()).all()
    without = Gallery(generator, evaluation_config(), 4, tmp_path, [])
    without.each_class()
    assert gallery.CLASSES not in without.titles
    assert list(tmp_path.iterdir()) == []  # nothing stays of an earlier model with classes


def test_finer_grid_passes_through_the_trained_pixels(tmp_path: Path) -> None:
    config = NetworkConfig(
        resolution=32, channel_base=256, channel_max=8, mapping_layers=1, modulation_rank=2, classes=0, drift=1
    )
    generator = VideoGenerator(config).reset(generator=torch.Generator().manual_seed(0)).eval()
    writer = Gallery(generator, evaluation_config(), 4, tmp_path, [])
    writer.finer()
    writer.abilities()
    with Image.open(tmp_path / "abilities.png") as picture:
        assert picture.size[0] == 20 + 8 * 96 + 7 * 2  # eight frames of 96 pixels
    with Image.open(tmp_path / "finer.png") as picture:
        pixels = np.asarray(picture)
    trained = sample(generator, seeds=writer.seeds[:1], times=writer.times)[0, 0].permute(1, 2, 0).numpy()
    first, last = pixels[44 : 44 + 256, 10 : 10 + 256], pixels[-10 - 256 : -10, 10 : 10 + 256]
    assert (last[::8, ::8] == trained).all()  # each pixel is a square of 8
    # Columns of the trained grid are among the finer ones from the left, rows from the bottom (see grid_axis).
    assert np.abs(first[7::8, ::8].astype(int) - trained).max() <= 1


def test_of_many_classes_the_first_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    config = NetworkConfig(
        resolution=32, channel_base=256, channel_max=8, mapping_layers=1, modulation_rank=2, classes=20
    )
    generator = VideoGenerator(config).reset(generator=torch.Generator().manual_seed(0)).eval()
    writer = Gallery(generator, evaluation_config(), 2, tmp_path, [f"kind_{number}" for number in range(20)])
    writer.each_class()
    assert writer.shown_classes.startswith("the first 16 of 20 classes: kind_0, kind_1")
    assert writer.shown_classes.endswith("kind_15") and (tmp_path / gallery.CLASSES_PLAYING).is_file()
