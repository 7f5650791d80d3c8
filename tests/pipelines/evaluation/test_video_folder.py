"""`digan evaluate` on folders of videos and of frames, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digan.data.clips import square
from pipelines.cli import main
from pipelines.evaluation.frame_size import FrameSize
from pipelines.evaluation.video_folder import VideoFolder
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

    missing = tmp_path / "missing.json"
    assert run(tmp_path, "--real", tmp_path / "no such folder", "--fake", fake, "--against", missing) == 2
    assert f"--against {missing}: no such file" in capsys.readouterr().err  # before the folders are looked at


def test_names_that_are_not_utf8_are_named_and_counted(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is the one without these videos, whose names no record could hold."""
    real, fake = folders
    names = (b"caf\xe9.mp4", b"\xff/deep.mp4", b"frames\xfe/0.png", b"\xe9t\xe9/0.png")
    for name in names:
        path = tmp_path / "odd" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / "v0.mp4", path)
    shutil.copytree(real, tmp_path / "odd", dirs_exist_ok=True)
    plain, odd = (VideoFolder(folder, "--real", 10) for folder in (real, tmp_path / "odd"))
    (note,) = odd.notes
    assert note.startswith("--real: 4 videos cannot be read (caf\\xe9.mp4 has a name that is not UTF-8; rename it, ")
    assert (note.isascii(), plain.notes, odd.digest()) == (True, [], plain.digest())
    for child in real.iterdir():
        (tmp_path / "odd" / child.name).unlink()
    assert run(tmp_path, "--real", tmp_path / "odd", "--fake", fake) == 2
    assert "4 cannot be read (first: caf\\xe9.mp4 has a name that is not UTF-8; rename it)" in capsys.readouterr().err


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


def test_folders_of_different_sizes_are_compared_at_a_given_size(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures as of videos that were resized before, by the code of ingest."""
    from pipelines.video import decoder

    real, large, small = folders[0], tmp_path / "large", tmp_path / "small"
    make_videos(large / "a", 3, size=48, count=4)
    make_videos(large / "b", 4, size=40, count=4)
    for path in large.rglob("*.mp4"):
        folder = small / path.relative_to(large)
        folder.mkdir(parents=True)
        for number, frame in enumerate(decoder.decode(path).frames):
            Image.fromarray(square(frame, 32)).save(folder / f"{number}.png")
    results = []
    for fake, options in ((large, ["--size", "32"]), (small, []), (large, ["--size", "64x48"])):
        out = tmp_path / f"{len(results)}.json"
        common = ["--real", real, "--fake", fake, "--videos", "6", "--draws", "1", "--out", out]
        assert run(tmp_path, *common, *options) == 0
        results.append(json.loads(out.read_text()))
    resized, prepared, wide = results
    assert resized["frechet_transnetv2"]["mean"] == pytest.approx(prepared["frechet_transnetv2"]["mean"], rel=1e-6)
    assert (resized["size"], prepared["size"], wide["size"]) == ("32x32", "32x32", "64x48")
    assert resized["protocol_text"] == prepared["protocol_text"] + ", resized to 32x32"
    assert resized["notes"] == ["--fake: videos of 48x48, 40x40 are cropped at the center and resized to 32x32"]
    assert wide["notes"][0] == "--real: videos of 32x32 are cropped at the center and resized to 64x48"
    assert "note: --fake: videos of 48x48, 40x40 are cropped" in capsys.readouterr().out
    assert run(tmp_path, "--real", real, "--fake", small, "--videos", "6", "--draws", "1", "--against", out) == 2
    assert "not comparable: protocol" in capsys.readouterr().err


def test_frames_are_cropped_at_the_center_and_resized() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 60, 100, 3), dtype=np.uint8)
    assert np.array_equal(FrameSize.parse("100x60").fit(frames), frames)
    assert np.array_equal(FrameSize.parse("32").fit(frames)[1], square(frames[1], 32))
    for text, box in {"40x48": (25, 0, 75, 60), "50x20": (0, 10, 100, 50)}.items():  # left, top, right, bottom
        size = FrameSize.parse(text)
        wanted = Image.fromarray(frames[0]).crop(box).resize((size.width, size.height), Image.Resampling.BILINEAR)
        assert np.abs(size.fit(frames)[0].astype(int) - np.asarray(wanted)).max() <= 1
    assert FrameSize.parse("64x16").fit(frames[:, :, :1]).shape == (2, 16, 64, 3)


@pytest.mark.parametrize("text", ["0", "8", "9999", "-32", "32x", "x32", "32x32x3", "a", "3 2", "32.5", "³²"])
def test_invalid_size_is_rejected(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--real", "real", "--fake", "fake", f"--size={text}") == 2
    must = "must be a number of pixels or WIDTHxHEIGHT, from 16 to 4096; try 64 or 128x96"
    assert capsys.readouterr().err == f"error: --size {text}: {must}\n"


def test_different_frame_rates_are_noted(folders: tuple[Path, Path], tmp_path: Path) -> None:
    video = torch.zeros(FRAMES, 3, 32, 32, dtype=torch.uint8)
    for number in range(2):
        write_video(tmp_path / f"fake/{number}.mp4", video, 25)
    out = tmp_path / "out.json"
    options = ["--real", folders[0], "--fake", tmp_path / "fake", "--videos", "2", "--draws", "1", "--out", out]
    assert run(tmp_path, *options) == 0
    assert "--real has 8 frames per second, --fake 25: " in json.loads(out.read_text())["notes"][0]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "--fake {fake}: no such folder; give one with videos"),
        ("empty", "no clip of 10 frames in it; it holds no videos or pictures"),
        ("short", "no clip of 10 frames in it; 2 are too short (first: v0.mp4 has 8)"),
        ("broken", "no clip of 10 frames in it; 1 cannot be read (first: v.mp4 "),
        (
            "mixed",
            "videos of two sizes: a/v0.mp4 is 32x32, b/v0.mp4 48x48; bring all to one size, since scaling changes",
        ),
        (
            "other size",
            "--fake {fake}: its videos are 48x48, those of --real {real} 32x32; scaling changes the metric, so set the size"
            " to compare at: --size 32x32 or --size 48x48\n",
        ),
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
    if case == "other size":
        make_videos(fake, 0, count=2, size=48)
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
    assert code == 2 and error.count("\n") == 1 and message.format(fake=fake, real=real) in error, error


def cli_code(options: list[object]) -> int:
    with pytest.raises(SystemExit) as end:
        main.main(["evaluate", *map(str, options)])
    return int(end.value.code or 0)
