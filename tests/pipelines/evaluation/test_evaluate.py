"""The stages `reference` and `evaluate` on a small generator and invented clips."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from digan import generator_io
from digan.errors import UserError
from digan.metrics.frechet import frechet_from_features
from digan.metrics.kernel import kernel_distance
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.sampling import sample
from digan.types import Clip
from pipelines import detectors, evaluate, reference, register
from pipelines.dataset import loader
from pipelines.detectors import Detector
from pipelines.evaluation import outputs, reference_features
from pipelines.evaluation.embedding import seeds_of
from pipelines.evaluation.result import EvaluationResult
from pipelines.evaluation.snapshot_curve import quick_measure
from pipelines.tracking import runs
from pipelines.tracking.runs import TrackingConfig
from tests.conftest import evaluation_config

ROOT = Path(__file__).parents[3]
CONFIG = evaluation_config(videos=6, draws=2, curve_videos=4, batch_size=4)
FRAMES = 10


class Counting:
    """A cheap detector in place of a network: means of each channel and time. Counts the videos it sees."""

    def __init__(self) -> None:
        self.seen = 0
        self.largest = 0

    def embed(self, videos: torch.Tensor) -> torch.Tensor:
        self.seen += len(videos)
        self.largest = max(self.largest, len(videos))
        return videos.float().mean(dim=(3, 4)).flatten(1) / 255

    def detector(self, digest: str = "d" * 64) -> Detector:
        common = {"network": "means", "metric_name": "frechet_means", "weights_sha256": "", "min_frames": 1}
        return Detector(digest=digest, embed=self.embed, **common)  # type: ignore[arg-type]


def invented_clips(_folder: object, *, split: str, count: int, seed: int, start: int = 0) -> Iterator[Clip]:
    for i in range(start, start + count):
        generator = torch.Generator().manual_seed(seed + i + (1000 if split == "val" else 0))
        frames = torch.randint(0, 256, (FRAMES, 3, 1, 1), dtype=torch.uint8, generator=generator).expand(-1, -1, 32, 32)
        yield Clip(frames=frames.contiguous(), label=None, name=f"{split}/{i // 2}.mp4@{i % 2}")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    index = SimpleNamespace(
        digest="a" * 64,
        classes=(),
        frames=FRAMES,
        resolution=32,
        splits={s: (SimpleNamespace(clips=40, videos=20),) for s in ("train", "val")},
    )
    counting = Counting()
    monkeypatch.setattr(loader, "read_index", lambda folder: index)
    monkeypatch.setattr(loader, "read_clips", invented_clips)
    monkeypatch.setattr(detectors, "load", lambda config, resize: counting.detector())
    settings = SimpleNamespace(
        evaluation=CONFIG, tracking=None, cluster=None, as_dict=lambda: {"evaluation": {"draws": 2}}
    )
    monkeypatch.setattr("pipelines.params.load", lambda *a: settings)
    config = NetworkConfig(
        resolution=32, classes=0, channel_base=1024, channel_max=8, mapping_layers=1, modulation_rank=2
    )
    for seed, name in enumerate(("generator", "initial_generator")):
        generator = VideoGenerator(config).reset(generator=torch.Generator().manual_seed(seed))
        generator_io.save_generator(generator, tmp_path / "outputs/train" / name)
    return SimpleNamespace(counting=counting, index=index, settings=settings, folder=tmp_path)


def test_from_real_clips_to_figures(workplace: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    reference.main()
    assert workplace.counting.seen == 12
    evaluate.main()
    assert workplace.counting.seen == 12 + 4 + 18  # the curve's four clips are a chunk too small for the draw's six
    assert workplace.counting.largest == CONFIG.batch_size

    content = json.loads(Path("metrics/evaluation.json").read_text())
    generator = generator_io.load_generator(Path("outputs/train/generator"))
    times = torch.linspace(0, 1, FRAMES)
    real_features = torch.stack([clip.frames for clip in invented_clips("", split="train", count=6, seed=0)])
    real_vs_real = torch.stack([clip.frames for clip in invented_clips("", split="val", count=6, seed=0)])
    features = workplace.counting.detector().features
    draws = [features(sample(generator, seeds=seeds_of(0, d, range(6)), times=times)) for d in range(2)]
    for name, distance in (("frechet_means", frechet_from_features), ("kernel_means", kernel_distance)):
        found = content[name]
        values = [distance(features(real_features), draw) for draw in draws]
        np.testing.assert_allclose([found["mean"], found["std"]], [np.mean(values), np.std(values, ddof=1)], rtol=1e-4)
        np.testing.assert_allclose(
            found["real_vs_real"], distance(features(real_features), features(real_vs_real)), rtol=1e-5
        )
        np.testing.assert_allclose(found["ratio_to_untrained"], found["mean"] / found["untrained"])
    assert content["frechet_means"]["untrained"] != content["frechet_means"]["mean"]
    result = EvaluationResult.read(Path("metrics/evaluation.json"), **register.SOURCE)
    assert result.value(register.PROTOCOL, **register.SOURCE).metric == "frechet_means"

    output = capsys.readouterr().out
    assert f"frechet_means: {content['frechet_means']['mean']:.4g} +- " in output
    assert "real vs. real" in output and "untrained generator" in output
    assert "6 clips from 3 videos of the train split" in output
    rows = Path("plots/draws.csv").read_text().splitlines()
    assert rows[0] == "draw,frechet_means,kernel_means" and len(rows) == 3


def test_every_snapshot_is_measured_and_the_best_one_chosen(
    workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    config = generator_io.load_generator(Path("outputs/train/generator")).config
    for clips in (1000, 2000):
        generator = VideoGenerator(config).reset(generator=torch.Generator().manual_seed(clips))
        generator_io.save_generator(generator, Path(f"outputs/train/snapshots/{clips:010d}"))
    shutil.copytree("outputs/train/generator", "outputs/train/snapshots/0000003000")  # the last one, twice
    tracked = runs.resolved(TrackingConfig(uri="", experiment="curve"), store)
    run_id = runs.open_run(tracked, {}, {}, Path("outputs/train/run.json"))
    workplace.settings.tracking = tracked
    reference.main()
    evaluate.main()
    rows = list(csv.DictReader(Path("plots/evaluation_curve.csv").read_text().splitlines()))
    assert [int(row["clips_seen"]) for row in rows] == [1000, 2000, 3000]
    real = reference_features.require(evaluate.REFERENCE, evaluate.SHARDS, CONFIG, workplace.counting.detector())
    for row in rows:
        generator = generator_io.load_generator(Path(f"outputs/train/snapshots/{int(row['clips_seen']):010d}"))
        value = quick_measure(generator, real.reference, workplace.counting.detector(), CONFIG, frames=FRAMES, videos=4)
        assert value == pytest.approx(float(row["value"]), rel=1e-4)
        assert float(row["low"]) <= value <= float(row["high"])
        videos = sample(generator, seeds=range(2**35, 2**35 + 4), times=torch.linspace(0, 1, FRAMES))
        independent = frechet_from_features(real.reference[:4], workplace.counting.detector().features(videos))
        assert value == pytest.approx(independent, rel=1e-4)
    best = min(rows, key=lambda row: float(row["value"]))
    content = json.loads(Path("metrics/evaluation.json").read_text())
    assert content["clips_seen"] == int(best["clips_seen"])
    assert content["protocol_text"].endswith(", snapshot chosen on other seeds")
    assert content["curve_videos"] == 4  # of seeds that no draw has
    assert not set(range(2**35, 2**35 + 4)) & {i for draw in range(1000) for i in seeds_of(0, draw, range(2048))}
    chosen = Path(content["generator"]) / "weights.pt"
    assert chosen.read_bytes() == (outputs.GENERATOR / "weights.pt").read_bytes()

    before = workplace.counting.seen
    evaluate.main()  # again: nothing is embedded, and no point is logged twice
    assert workplace.counting.seen == before
    history = runs.client(tracked).get_metric_history(run_id, "evaluation/curve/frechet_means")
    assert sorted(point.step for point in history) == [1000, 2000, 3000]
    artifacts = {file.path for file in runs.client(tracked).list_artifacts(run_id, "evaluation")}
    assert "evaluation/evaluation.html" in artifacts
    assert Path("reports/evaluation.html").read_text().count("<video") == 8


def test_pictures_are_there_to_be_seen(workplace: SimpleNamespace) -> None:
    reference.main()
    evaluate.main()
    shown = json.loads(Path("outputs/evaluation/index.json").read_text())["files"]
    for name in shown:
        assert (Path("outputs/evaluation") / name).stat().st_size > 500
    with Image.open("outputs/evaluation/strip.png") as strip:
        assert strip.size[0] > 8 * 90 and strip.size[1] > 10 * 90
    with av.open("outputs/evaluation/videos.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == 3 * FRAMES
    assert not list(Path().rglob("*.part"))


def test_reference_is_made_once(
    workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = workplace.counting
    reference.main()
    first = Path("outputs/reference/means.npz").read_bytes()
    reference.main()
    assert counting.seen == 12
    assert "there already" in capsys.readouterr().out
    assert Path("outputs/reference/means.npz").read_bytes() == first

    for change in ("data", "detector", "counts", "damage"):
        before = counting.seen
        if change == "data":
            workplace.index.digest = "b" * 64
        elif change == "detector":
            monkeypatch.setattr(detectors, "load", lambda config, resize: counting.detector("e" * 64))
        elif change == "counts":
            workplace.settings.evaluation = replace(CONFIG, videos=70)
        else:
            Path("outputs/reference/means.npz").write_bytes(b"half")
            shutil.rmtree("outputs/features")
        with pytest.raises(UserError, match=r"run python -m pipelines\.reference"):
            evaluate.main()
        reference.main()
        assert counting.seen > before, change


def test_floor_without_held_out_videos(workplace: SimpleNamespace) -> None:
    workplace.index.splits.pop("val")
    reference.main()
    index = json.loads(Path("outputs/reference/means.json").read_text())
    assert index["real_vs_real"]["split"] == "train"
    assert any("no other split" in note for note in index["notes"])
    with np.load("outputs/reference/means.npz") as file:
        assert not np.array_equal(file["reference"], file["real_vs_real"])


def test_no_generator_is_one_clear_line(workplace: SimpleNamespace) -> None:
    reference.main()
    (workplace.folder / "outputs/train/generator/weights.pt").unlink()
    with pytest.raises(UserError, match=r"no generator there; run python -m pipelines\.train"):
        evaluate.main()
    assert not Path("metrics").exists()


def test_another_resolution_is_refused(workplace: SimpleNamespace) -> None:
    workplace.index.resolution = 64
    with pytest.raises(UserError, match="makes 32 pixels, the shards hold 64"):
        evaluate.main()
