"""`digan sample`: reproducible files; each user error is one line with exit code 2 and leaves no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digan import class_names
from digan.generator_io import load_generator, save_generator
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.sampling import sample as generate
from pipelines.cli import main, output_size


class Psutil:
    """A machine with this many bytes of free memory."""

    def __init__(self, available: int) -> None:
        self.available = available

    def virtual_memory(self) -> Psutil:
        return self


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sample(model: Path | str, *more: str) -> None:
    main.main(["sample", "--model", str(model), *more])


def frames_of(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "sheet.png", "new/folder/clip.MP4"])
def test_same_arguments_give_the_same_file(tiny_generator: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    written = []
    for _ in range(2):
        sample(tiny_generator, "--seed", "7", "--frames", "4", "--out", name)
        written.append(Path(name).read_bytes())
    assert written[0] == written[1]
    assert capsys.readouterr().out == f"{name}\n{name}\n"
    sample(tiny_generator, "--seed", "8", "--frames", "4", "--out", name)
    assert Path(name).read_bytes() != written[0]
    assert [p for p in Path().rglob("*") if p.name.endswith(".part")] == []


def test_contact_sheet_shows_the_sampled_frames(tiny_generator: Path) -> None:
    options = ["--from", "0.25", "--to", "0.75", "--truncation", "0.5"]
    sample(tiny_generator, "--seeds", "3,7-8", "--frames", "5", "--out", "s.png", "--scale", "2", *options)
    picture = np.asarray(Image.open("s.png"))
    assert picture.shape == (2 * (3 * 33 - 1), 2 * (5 * 33 - 1), 3)
    times = torch.linspace(0.25, 0.75, 5)
    videos = generate(load_generator(tiny_generator), seeds=[3, 7, 8], times=times, truncation=0.5).permute(
        0, 1, 3, 4, 2
    )
    small = picture[::2, ::2]
    for row in range(3):
        for column in range(5):
            cell = small[row * 33 : row * 33 + 32, column * 33 : column * 33 + 32]
            assert np.array_equal(cell, videos[row, column].numpy())
    assert np.ptp(small.astype(int)) > 0


def test_video_shows_the_seeds_side_by_side(tiny_generator: Path) -> None:
    sample(tiny_generator, "--seeds", "1,2", "--frames", "6", "--scale", "2", "--out", "c.mp4")
    assert frames_of(Path("c.mp4")).shape == (6, 64, 128, 3)


def conditional_model(folder: Path, names: tuple[str, ...], classes: int = 0) -> Path:
    """A generator of as many classes as ``names``, or of ``classes``, in ``folder``."""
    model = NetworkConfig(
        resolution=32,
        channel_base=128,
        channel_max=4,
        mapping_layers=2,
        modulation_rank=2,
        classes=classes or len(names),
    )
    save_generator(VideoGenerator(model).reset(generator=torch.Generator().manual_seed(0)), folder)
    class_names.write(folder, names)
    return folder


def sampled(folder: Path, label: str) -> bytes:
    sample(folder, "--label", label, "--frames", "2", "--out", "label.png")
    return Path("label.png").read_bytes()


def test_label_is_a_class_name_or_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = conditional_model(tmp_path / "conditional", ("ant", "bee", "cat"))
    assert sampled(folder, "bee") == sampled(folder, "1") != sampled(folder, "cat")
    capsys.readouterr()
    for label, parts in {
        "bees": ["classes 0 to 2", "nearest is bee\n"],
        "CAT": ["nearest is cat\n"],
        "zebra": ["choose one of ant, bee, cat\n"],
        "": ["choose one of ant, bee, cat\n"],
        "3": ["--label 3", "0 to 2", "choose one of ant, bee, cat\n"],
        "-1": ["choose one of ant, bee, cat\n"],
    }.items():
        check_user_error(["sample", "--model", str(folder), f"--label={label}", "--out", "c.png"], parts, capsys)
    for damaged in ("", "[1]", "{}", '["ant", "bee"]', '["ant", "bee", "bee"]'):
        (folder / "classes.json").write_text(damaged)
        arguments = ["sample", "--model", str(folder), "--label", "bee", "--out", "c.png"]
        check_user_error(arguments, ["classes.json", "restore it"], capsys)
    class_names.write(folder, ())  # a model without class names
    check_user_error(
        ["sample", "--model", str(folder), "--label", "bee", "--out", "c.png"], ["classes 0 to 2", "no names"], capsys
    )


def test_numeric_class_names_come_before_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = conditional_model(tmp_path / "digits", ("0", "1", "3", "4"))
    by_number = conditional_model(tmp_path / "numbers", (), classes=4)
    for number, name in enumerate(("0", "1", "3", "4")):
        assert sampled(folder, name) == sampled(by_number, str(number))
    capsys.readouterr()
    refused = ["sample", "--model", str(folder), "--out", "c.png", "--label"]
    check_user_error([*refused, "2"], ["--label 2: is the name of no class", "choose one of 0, 1, 3, 4\n"], capsys)
    check_user_error([*refused, "7"], ["--label 7: ", "choose one of 0, 1, 3, 4\n"], capsys)
    class_names.write(folder, ("-1", "0.5", "cat", "007"))  # numbers of other kinds
    check_user_error([*refused, "1"], ["choose one of -1, 0.5, cat, 007\n"], capsys)
    class_names.write(folder, ("kick2", "3d", "cat", "1-2"))  # names that only contain digits
    assert sampled(folder, "2") == sampled(folder, "cat")


def test_info_lists_the_classes(tmp_path: Path, tiny_generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["info", str(conditional_model(tmp_path / "digits", ("1", "10", "2")))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "resolution: 32x32"
    assert [line.split() for line in lines[-4:]] == [["classes:", "3"], ["0", "1"], ["1", "10"], ["2", "2"]]
    main.main(["info", str(tiny_generator)])
    assert capsys.readouterr().out.endswith("classes:    none\n")
    check_user_error(["info", "nowhere"], ["nowhere: no such folder"], capsys)


def test_parent_folder_of_a_generator_is_accepted(tiny_generator: Path) -> None:
    sample(tiny_generator.parent, "--frames", "1", "--out", "a.png")
    sample(tiny_generator, "--frames", "1", "--seed", "0", "--out", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--out", "clip.avi"], ["--out clip.avi", ".mp4, .gif, .png"]),
        (["--out", "clip"], ["--out clip", "try clip.mp4"]),
        (["--out", "."], ["--out .", "must end in"]),
        (["--out", "c.mp4", "--frames", "0"], ["--frames 0", "from 1"]),
        (["--out", "c.mp4", "--frames", "many"], ["--frames", "many"]),
        (["--out", "c.mp4", "--seed", "-1"], ["--seed -1"]),
        (["--out", "c.mp4", "--seeds", "1,x"], ["--seeds 1,x"]),
        (["--out", "c.mp4", "--seeds", "9-1"], ["--seeds 9-1"]),
        (["--out", "c.mp4", "--from", "inf", "--to", "0"], ["--from inf --to 0.0"]),
        (["--out", "c.mp4", "--to=-2e6"], ["--from 0.0 --to -2000000.0", "from -1000000 to 1000000"]),
        (["--out", "c.mp4", "--seeds", "0-512"], ["--out c.mp4: its pictures of 16416x32 pixels", "fewer seeds"]),
        (["--out", "c.gif", "--seeds", "0-31", "--scale", "64"], ["65536x2048 pixels", "larger than .gif", "--scale"]),
        (["--out", "c.mp4", "--seeds", "0-256", "--scale", "2"], ["16448x64", "lower --scale or ask for fewer seeds"]),
        (["--out", "c.mp4", "--from", "nan"], ["--from nan"]),
        (["--out", "c.mp4", "--fps", "0"], ["--fps 0"]),
        (["--out", "c.mp4", "--scale", "0"], ["--scale 0"]),
        (["--out", "c.mp4", "--truncation", "nan"], ["--truncation nan"]),
        (["--out", "c.mp4", "--label", "1"], ["--label 1", "knows no classes"]),
        (["--out", "c.mp4", "--sed", "1"], ["--sed"]),
        ([], ["--out"]),
    ],
)
def test_invalid_argument_is_one_line(
    tiny_generator: Path, arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    check_user_error([*("sample", "--model", str(tiny_generator)), *arguments], parts, capsys)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("out", "pictures"), [("c.mp4", 5), ("c.png", 1)])
def test_file_that_does_not_fit_into_memory_is_one_line(
    tiny_generator: Path, out: str, pictures: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", "--model", str(tiny_generator), "--frames", "5", "--scale", "4", "--out", out]
    monkeypatch.setattr(output_size, "psutil", Psutil(available=9 * 5 * 128 * 128))
    check_user_error(arguments, ["of memory, 0.0 GB are free; lower --scale or use fewer --frames\n"], capsys)
    monkeypatch.setattr(output_size, "psutil", Psutil(available=9 * 5 * 136 * 136))
    main.main(arguments)
    assert Path(out).is_file()


def test_time_runs_backwards(tiny_generator: Path) -> None:
    options = ["--frames", "5", "--seeds", "1,2", "--out", "s.png"]
    pictures = []
    for times in (["--from", "0", "--to", "1"], ["--from", "1", "--to", "0"], ["--from", "1.5", "--to=-0.5"]):
        sample(tiny_generator, *options, *times)
        pictures.append(np.asarray(Image.open("s.png")))
    forward, backward, beyond = ([p[:32, 33 * i : 33 * i + 32] for i in range(5)] for p in pictures)
    assert np.array_equal(backward, forward[::-1]) and not np.array_equal(backward, forward)
    times = torch.tensor([1.5, 1.0, 0.5, 0.0, -0.5])
    wanted = generate(load_generator(tiny_generator), seeds=[1, 2], times=times)
    assert np.array_equal(beyond, wanted[0].permute(0, 2, 3, 1).numpy())
    sample(tiny_generator, "--frames", "3", "--from", "0.5", "--to", "0.5", "--out", "c.mp4")  # time stands still
    assert frames_of(Path("c.mp4")).shape == (3, 32, 32, 3)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("nowhere", ["--model nowhere", "no such folder"]),
        (".", ["--model .", "holds no generator"]),
        ("s3://bucket/model", ["s3://", "not supported yet"]),
        ("models:/a/b/c", ["must look like"]),
        ("models:/a@champion", ["no MLflow store", "mlflow.db"]),
    ],
)
def test_missing_model_is_one_line(model: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check_user_error(["sample", "--model", model, "--out", "c.mp4"], parts, capsys)
    assert list(Path().iterdir()) == []


def test_damaged_model_is_one_line(tiny_generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("g").mkdir()
    for name in ("weights.pt", "config.json"):
        Path("g", name).write_bytes((tiny_generator / name).read_bytes()[:-200] if name == "weights.pt" else b"{}")
    check_user_error(["sample", "--model", "g", "--out", "c.mp4"], ["g"], capsys)
    assert not Path("c.mp4").exists()


def test_unknown_commands_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    check_user_error(["sweep", "shwo"], ["shwo", "show"], capsys)
    check_user_error(["smaple"], ["smaple", "sample"], capsys)


def test_output_below_a_file_is_one_line(tiny_generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("here").write_text("x")
    arguments = ["sample", "--model", str(tiny_generator), "--frames", "1", "--out", "here/c.png"]
    check_user_error(arguments, ["here", "a file exists where a folder is needed"], capsys)


def check_user_error(arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    shown = capsys.readouterr()
    assert caught.value.code == 2 and shown.out == ""
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown.err
    assert [part for part in parts if part not in shown.err] == [], shown.err


@pytest.mark.parametrize(("arguments", "shown"), [((), "usage: digan "), (("sweep",), "usage: digan sweep ")])
def test_a_command_group_alone_shows_its_help(
    arguments: tuple[str, ...], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main.main(arguments)
    assert capsys.readouterr().out.startswith(shown)


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"digan {metadata.version('digan')}\n")
    monkeypatch.setattr(metadata, "version", raises_not_found)
    with pytest.raises(SystemExit):
        main.main(["--version"])
    assert capsys.readouterr().out == "digan (not installed)\n"


def raises_not_found(name: str) -> str:
    from importlib import metadata

    raise metadata.PackageNotFoundError(name)
