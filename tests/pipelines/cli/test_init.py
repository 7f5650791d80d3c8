"""`digan init FOLDER`: from files of videos to a params.yaml that the stages accept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from pipelines import params, params_file
from pipelines.cli import init, main
from pipelines.cluster import dry_run
from pipelines.own_videos.settings_choice import Setting
from pipelines.video.video_writer import write_video


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a machine whose speed needs no measurement."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(dry_run, "measure", lambda *_, **__: (0.2, 1e9, "a machine"))
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "Meine Vidéos 日本"
    folder.mkdir()
    for number in range(5):
        frames = torch.zeros(20, 3, 32, 32, dtype=torch.uint8)
        for t in range(20):
            frames[t, :, 8:16, t : t + 8] = 200
        write_video(folder / f"cliп {number}.mp4", frames)
    (folder / "broken one.mp4").write_bytes(b"no video")
    return folder


def run(*arguments: object) -> int:
    try:
        main.main(["init", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_writes_parameters_with_reasons_and_names_what_is_wrong(
    videos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos) == 0
    out = capsys.readouterr().out
    assert "6 videos; 6 of them decoded" in out and "clips a second" in out and "expect: " in out
    assert "warning: 1 videos cannot be used: broken one.mp4 cannot be opened" in out
    chosen = params.load(here / "params.yaml")
    assert (chosen.source.name, chosen.source.path, chosen.training.r1_gamma) == ("folder", str(videos), 10.0)
    assert chosen.training.augment == "color,translation"
    text = (here / "params.yaml").read_text()
    lines = text.splitlines()
    for key in ("resolution", "frames", "frame_stride", "classes", "channel_max", "batch_size", "r1_gamma", "augment"):
        place = next(i for i, line in enumerate(lines) if re.match(rf"  {key}: +\S+ +#", line))
        assert lines[place - 1].startswith("  # "), key
    assert "demo" not in lines[0] and "Meine Vidéos 日本" in lines[0]


def test_former_files_are_kept_and_the_difference_is_printed(here: Path) -> None:
    out, new = Path("params.yaml"), "training:\n  r1_gamma: 10.0\n"
    assert init.write(out, new) == ["params.yaml: written"]
    assert init.write(out, new) == ["params.yaml: is up to date"] and not (here / "params.yaml.before").exists()
    mine = "tracking:\n  uri: http://me:secret@host\n"
    for number, name in enumerate(("params.yaml.before", "params.yaml.before-2"), start=1):
        out.write_text(mine * number)
        printed = "\n".join(init.write(out, new))
        assert "-tracking:" in printed and "+  r1_gamma: 10.0" in printed and "secret" not in printed
        assert (here / name).read_text() == mine * number and out.read_text() == new
    out.write_text(mine)  # kept already
    assert "kept params.yaml.before" in init.write(out, new)[-1] and len(list(here.iterdir())) == 3
    out.write_bytes(b"\xff\x00 no YAML")
    init.write(out, new)
    assert (here / "params.yaml.before-3").read_bytes() == b"\xff\x00 no YAML"


def test_wrong_folders_and_times_are_one_line(
    videos: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, notes, frames, damaged = (tmp_path / name for name in ("empty one", "notes", "frames", "damaged"))
    for folder in (empty, notes, frames / "a", damaged):
        folder.mkdir(parents=True)
    (notes / "x.txt").touch()
    (frames / "a" / "0.png").touch()
    (damaged / "a b.mp4").write_bytes(b"x")
    file = videos / "cliп 0.mp4"
    for arguments, part in (
        ([tmp_path / "none"], "none: no such folder; give the path of a folder of videos"),
        ([""], "FOLDER: no such folder"),
        ([file], "0.mp4: is a file"),
        ([empty], "empty one: the folder is empty"),
        ([notes], "notes: the folder holds no videos"),
        ([frames], "source.name: frames"),
        ([damaged], "a b.mp4 cannot be opened"),
        (["s3://bucket/x"], "must be a folder on this machine"),
        ([videos, "--hours", "0"], "--hours 0: must be above 0"),
        ([videos, "--hours", "nan"], "--hours nan: must be above 0"),
        ([videos, "--hours", "two"], "--hours"),
        ([videos, "--out", here], "work: a folder exists where a file is needed"),
    ):
        assert run(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert part in error and error.count("\n") == 1, (arguments, error)
    assert list(here.iterdir()) == []


def test_names_with_line_breaks_stay_in_their_comment(here: Path) -> None:
    name = "a\nmodel:\u2028  drift\x85: 9"
    settings = [Setting(key="source.path", value=f"/x/{name}", reason=name)]
    text = init.parameter_text(settings, heading=f"for {name}")
    (here / "params.yaml").write_text(text)
    assert params_file.read(here / "params.yaml")["source"]["path"] == f"/x/{name}"
    assert params_file.read(here / "params.yaml")["model"]["drift"] == 0


def test_speed_counts_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"training.batch_size": 8, "training.micro_batch": 4}
    assert init.clips_per_second({**values, "cluster.workers": 2}) == pytest.approx(40)  # 8 clips in one round of 0.2 s
    assert init.clips_per_second({**values, "cluster.workers": 1}) == pytest.approx(20)
