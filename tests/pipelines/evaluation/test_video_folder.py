"""`digan evaluate` on folders of videos and of frames, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.cli import main
from pipelines.video.video_writer import write_video

COUNT, FRAMES = 8, 12


def make_videos(folder: Path, seed: int, *, frames: int = FRAMES, size: int = 32, count: int = COUNT) -> Path:
    for i in range(count):
        generator = torch.Generator().manual_seed(seed * 1000 + i)
        small = torch.rand(frames // 4, 3, 4, 4, generator=generator)
        video = torch.nn.functional.interpolate(small.transpose(0, 1)[None], (frames, size, size), mode="trilinear")[0]
        write_video(folder / f"v{i}.mp4", (video.transpose(0, 1) * 255).to(torch.uint8))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("videos")
    return make_videos(root / "real", 1), make_videos(root / "fake", 2)


def run(tmp_path: Path, *options: object) -> int:
    arguments = ["evaluate", *map(str, options), "--cache", str(tmp_path / "cache"), "--frames", "10"]
    try:
        main.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_figures_of_two_folders(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = folders
    out = tmp_path / "figures.json"
    options = ["--real", real, "--fake", fake, "--videos", "6", "--draws", "2", "--out", out]
    assert run(tmp_path, *options) == 0
    content = json.loads(out.read_text())
    output = capsys.readouterr().out
    assert "frechet_transnetv2: " in output and "is a stand-in and no FVD" in output
    assert (content["protocol"], content["videos"], content["draws"], content["frames"]) == ("quick", 6, 2, 10)
    assert len(content["data_digest"]) == len(content["fake_digest"]) == 64
    assert content["frechet_transnetv2"]["mean"] > 0 and content["frechet_transnetv2"]["real_vs_real"] > 0

    assert run(tmp_path, *options[:-2], "--against", out) == 0  # the same again, out of the cache
    assert "30 clips" not in (again := capsys.readouterr().out) and "24 were already there" in again
    assert "not surely higher" in again

    assert run(tmp_path, "--real", real, "--fake", real, "--videos", "6", "--draws", "1", "--out", out) == 0
    assert json.loads(out.read_text())["frechet_transnetv2"]["mean"] < 1e-8  # the same clips
    assert run(tmp_path, *options[:-2], "--against", out) == 2
    assert "not comparable: protocol" in capsys.readouterr().err


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_figures(folders: tuple[Path, Path], tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    real, fake = folders
    options = ["--real", real, "--fake", fake, "--videos", "4", "--draws", "2", "--out"]
    assert run(tmp_path / "here", *options, tmp_path / "here.json") == 0
    assert not ray.is_initialized()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        assert run(tmp_path / "there", *options, tmp_path / "there.json", "--ray", cluster.address) == 0
    finally:
        cluster.shutdown()
    assert not ray.is_initialized()
    here, there = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("here", "there"))
    for name, figure in here.items():
        if isinstance(figure, dict) and "mean" in figure:
            assert there[name]["mean"] == pytest.approx(figure["mean"], rel=1e-5), name
    assert here["data_digest"] == there["data_digest"] and here["detector_digest"] == there["detector_digest"]


def test_frames_are_as_good_as_videos(folders: tuple[Path, Path], tmp_path: Path) -> None:
    from pipelines.video import decoder

    real, fake = folders
    for path in real.glob("*.mp4"):
        (tmp_path / "frames" / path.name).mkdir(parents=True)
        for number, frame in enumerate(decoder.decode(path).frames):
            Image.fromarray(np.asarray(frame)).save(tmp_path / "frames" / path.name / f"{number}.png")
    found = []
    for place in (real, tmp_path / "frames"):
        out = tmp_path / "out.json"
        assert run(tmp_path, "--real", place, "--fake", fake, "--videos", "6", "--draws", "1", "--out", out) == 0
        found.append(json.loads(out.read_text())["frechet_transnetv2"]["mean"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "--fake {fake}: no such folder; give one with videos"),
        ("empty", "no clip of 10 frames in it; it holds no videos or pictures"),
        ("short", "no clip of 10 frames in it; 2 are too short (first: v0.mp4 has 8)"),
        ("broken", "no clip of 10 frames in it; 1 cannot be read (first: v.mp4 "),
        ("mixed", "videos of two sizes: a/v0.mp4 is 32x32, b/v0.mp4 48x48; bring all to one size"),
        ("few", "has 2 videos of 10 frames, protocol stylegan-v takes 2048; add videos, or set --videos 2"),
        ("weights", "evaluation.weights is empty: FVD is defined by I3D's trained weights"),
        ("nine", "--frames 9: i3d_untrained needs 10 or more"),
        (
            "nowhere",
            "--ray nowhere: is no address of a Ray cluster; start a cluster with `ray start --head`, or omit --ray",
        ),
        ("127.0.0.1:1", "--ray 127.0.0.1:1: no Ray cluster answers there ("),
    ],
)
def test_bad_input_is_one_line(
    case: str, message: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = folders[0], tmp_path / "fake"
    options: list[object] = ["--videos", "2"]
    if case != "missing":
        fake.mkdir()
    if case == "short":
        make_videos(fake, 0, frames=8, count=2)
    if case == "broken":
        (fake / "v.mp4").write_text("no video")
    if case == "mixed":
        make_videos(fake / "a", 0, count=1)
        make_videos(fake / "b", 0, count=1, size=48)
    if case == "few":
        make_videos(fake, 0, count=2)
        real, options = fake, ["--protocol", "stylegan-v"]
    if case in ("nowhere", "127.0.0.1:1"):
        make_videos(fake, 0, count=3)
        options += ["--ray", case]
    if case == "weights":
        options += ["--detector", "i3d"]
    if case == "nine":
        options += ["--detector", "i3d_untrained", "--frames", "9"]
        code = cli_code(["--real", real, "--fake", fake, *options])
    else:
        code = run(tmp_path, "--real", real, "--fake", fake, *options)
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and message.format(fake=fake) in error, error


def cli_code(options: list[object]) -> int:
    with pytest.raises(SystemExit) as end:
        main.main(["evaluate", *map(str, options)])
    return int(end.value.code or 0)
