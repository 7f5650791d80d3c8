"""The paper's data sets in small trees of their real layouts: the videos, their splits, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digan.errors import UserError
from pipelines.dataset.ingest_plan import videos_by_split
from pipelines.dataset.loader import read_clips, read_index
from pipelines.ingest import ingest
from pipelines.sources import SOURCES, RawVideo, kinetics_food, open_source
from tests.conftest import ROOT, clips_config, shards_config, source_config

CLIPS = clips_config(resolution=32, frames=4, frame_stride=1, validation_share=0.5)
SHARDS = shards_config(encoding="png", jpeg_quality=95, megabytes=1.0)


def write_video(path: Path, codec: str, frames: int = 20) -> None:
    """64 x 64 pixels, each frame brighter than the last."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * k, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def touch(root: Path, names: Iterable[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(name: str, root: Path, **changes: object) -> list[RawVideo]:
    return open_source(source_config(name=name, path=str(root), **changes))


def splits(videos: list[RawVideo]) -> dict[str, str | None]:
    return {video.name: video.split for video in videos}


def error_line(name: str, root: Path, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        found(name, root, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Splits by the hash


def raw(names: Iterable[str]) -> list[RawVideo]:
    return [RawVideo(name=name, path=Path(name), class_name=None) for name in names]


def test_added_videos_leave_the_splits_of_others() -> None:
    old = [f"class{k % 7}/video{k}.mp4" for k in range(4000)]
    new = [f"added{k}.mp4" for k in range(3000)] + [f"class{k % 7}/a{k}.mp4" for k in range(3000)]
    before = {split: {video.name for video in chosen} for split, chosen in videos_by_split(raw(old), CLIPS).items()}
    after = {
        split: {video.name for video in chosen} for split, chosen in videos_by_split(raw(new + old), CLIPS).items()
    }
    assert all(before[split] == after[split] & set(old) for split in ("train", "val"))
    assert not after["train"] & after["val"] and len(after["train"] | after["val"]) == 10_000
    assert 0.45 < len(after["val"]) / 10_000 < 0.55


# UCF-101

UCF = {
    "train": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "HandstandPushups/v_HandStandPushups_g09_c01.avi"],
    "test": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c02.avi"],
}


def ucf_lists(root: Path, number: int, train: list[str], test: list[str]) -> None:
    """Lists as in the archive: training videos have a class number, and lines end as on Windows."""
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classInd.txt").write_bytes(b"1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n")
    (folder / f"trainlist{number:02d}.txt").write_bytes("".join(f"{name} 1\r\n" for name in train).encode())
    (folder / f"testlist{number:02d}.txt").write_bytes("".join(f"{name}\r\n" for name in test).encode())


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    touch(tmp_path / "UCF-101", UCF["train"] + UCF["test"])
    ucf_lists(tmp_path, 1, **UCF)
    ucf_lists(tmp_path, 3, train=UCF["test"], test=UCF["train"])
    return tmp_path


def test_ucf101_follows_the_official_lists(ucf: Path) -> None:
    first = {**dict.fromkeys(UCF["train"], "train"), **dict.fromkeys(UCF["test"], "val")}
    other = {name: {"train": "val", "val": "train"}[split] for name, split in first.items()}
    assert splits(found("ucf101", ucf)) == first
    assert splits(found("ucf101", ucf, ucf101={"split_list": 3})) == other
    assert splits(found("ucf101", ucf, ucf101={"split": "test"})) == other
    assert splits(found("ucf101", ucf, ucf101={"split": "both"})) == dict.fromkeys(first, "train")
    videos = found("ucf101", ucf, classes=True)
    assert {video.class_name for video in videos} == {"ApplyEyeMakeup", "HandstandPushups"}
    assert all(
        video.window_mode == "overlapping" and video.kind == "video" and video.path.is_file() for video in videos
    )


def test_ucf101_leaves_out_files_that_no_list_names(ucf: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(ucf / "UCF-101", ["Archery/v_Archery_g01_c01.avi"])
    assert len(found("ucf101", ucf)) == 4
    assert "1 videos are in no list and are left out, such as Archery/v_Arch" in caplog.text


def test_incomplete_ucf101_is_an_error(ucf: Path) -> None:
    assert "holds no file ucfTrainTestlist/trainlist02.txt" in error_line("ucf101", ucf, ucf101={"split_list": 2})
    (ucf / "UCF-101" / UCF["test"][0]).unlink()
    assert "1 of 4 listed videos are not in UCF-101, such as ApplyEyeMakeup/v_App" in error_line("ucf101", ucf)
    ucf_lists(ucf, 1, UCF["train"], UCF["train"][:1])
    assert "testlist01.txt, line 1: ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi is in the training" in error_line(
        "ucf101", ucf
    )
    ucf_lists(ucf, 1, ["Knitting/v_Knitting_g01_c01.avi"], UCF["test"])
    assert "line 1: Knitting is no class of classInd.txt" in error_line("ucf101", ucf)
    ucf_lists(ucf, 1, ["<html>"], UCF["test"])
    assert "trainlist01.txt, line 1: <html> 1: must be CLASS/FILE.avi" in error_line("ucf101", ucf)
    (ucf / "ucfTrainTestlist/classInd.txt").unlink()
    assert "holds no file ucfTrainTestlist/classInd.txt" in error_line("ucf101", ucf)
    assert "holds no folder UCF-101" in error_line("ucf101", ucf / "ucfTrainTestlist")
    assert "no such folder" in error_line("ucf101", ucf / "nowhere")


def test_ucf101_ingested_in_both_protocols(tmp_path: Path) -> None:
    for name in UCF["train"] + UCF["test"]:
        write_video(tmp_path / "UCF-101" / name, "mpeg4")
    ucf_lists(tmp_path, 1, **UCF)
    for split, counts in (("train", {"train": 34, "val": 34}), ("both", {"train": 68, "val": 0})):
        config = source_config(name="ucf101", path=str(tmp_path), ucf101={"split": split}, classes=True)
        ingest(config, CLIPS, SHARDS, tmp_path / "out", jobs=1)
        index = read_index(tmp_path / "out")
        assert {name: count["clips"] for name, count in index.counts.items()} == counts  # every window: 20 - 4 + 1
        assert index.classes == ("ApplyEyeMakeup", "HandstandPushups") and index.source["ucf101"]["split"] == split
    assert not list((tmp_path / "out/val").glob("*.tar"))  # nothing remains of the first protocol
    names = {clip.name.split("@")[0] for clip in read_clips(tmp_path / "out", split="train", count=68, seed=0)}
    assert names == {*UCF["train"], *UCF["test"]}


# Frame folders with an official split


def frame_tree(root: Path, folders: dict[str, str], count: int) -> None:
    for folder, pattern in folders.items():
        (root / folder).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (40, 32), (10 * k,) * 3).save(root / folder / pattern.format(k + 1))


SKY = {
    "sky_train/07U1fSrk9oI/07U1fSrk9oI_1": "07U1fSrk9oI_frames_{:08d}.jpg",
    "sky_train/07U1fSrk9oI/07U1fSrk9oI_2": "07U1fSrk9oI_frames_{:08d}.jpg",
    "sky_test/Zs7S3gKbnFE/Zs7S3gKbnFE_1": "Zs7S3gKbnFE_frames_{:08d}.jpg",
}


def test_sky_timelapse_in_windows_without_overlap(tmp_path: Path) -> None:
    frame_tree(tmp_path / "sky", SKY, 11)
    videos = found("sky_timelapse", tmp_path / "sky")
    assert splits(videos) == {name: "train" if "train" in name else "val" for name in SKY}
    assert {(video.kind, video.window_mode, video.class_name) for video in videos} == {("frames", "disjoint", None)}
    assert set(splits(found("sky_timelapse", tmp_path / "sky", sky_timelapse={"split": "both"})).values()) == {"train"}
    assert (
        splits(found("sky_timelapse", tmp_path / "sky", sky_timelapse={"split": "test"}))[
            "sky_test/Zs7S3gKbnFE/Zs7S3gKbnFE_1"
        ]
        == "train"
    )
    config = source_config(name="sky_timelapse", path=str(tmp_path / "sky"))
    ingest(config, CLIPS, SHARDS, tmp_path / "out", jobs=1)
    assert {split: count["clips"] for split, count in read_index(tmp_path / "out").counts.items()} == {
        "train": 4,
        "val": 2,
    }


def test_taichi_hd_makes_clips_of_all_phases(tmp_path: Path) -> None:
    tree = {f"{part}/aDyyTMUBoLE#000#0{part}.mp4": "{:07d}.png" for part in ("train", "test")}
    frame_tree(tmp_path / "taichi", tree, 19)
    config = source_config(name="taichi_hd", path=str(tmp_path / "taichi"))
    assert splits(open_source(config)) == {name: "train" if "train/" in name else "val" for name in tree}
    starts = {1: [0, 4, 8, 12], 4: [0, 1, 2, 3]}
    for stride, expected in starts.items():
        clips = clips_config(resolution=32, frames=4, frame_stride=stride, validation_share=0.5)
        ingest(config, clips, SHARDS, tmp_path / "out", jobs=1)
        found_clips = list(read_clips(tmp_path / "out", split="train", count=4, seed=0))
        assert sorted(int(clip.name.rsplit("@", 1)[1]) for clip in found_clips) == expected
        for clip in found_clips:
            first = int(clip.name.rsplit("@", 1)[1])
            assert clip.frames[:, 0, 0, 0].tolist() == [10 * (first + stride * k) for k in range(4)]


@pytest.mark.parametrize(
    ("name", "parts"), [("sky_timelapse", ("sky_train", "sky_test")), ("taichi_hd", ("train", "test"))]
)
def test_missing_part_is_an_error(tmp_path: Path, name: str, parts: tuple[str, str]) -> None:
    assert f"holds no folder {parts[0]}" in error_line(name, tmp_path)
    touch(tmp_path, [f"{parts[0]}/v/1.png"])
    assert f"holds no folder {parts[1]}" in error_line(name, tmp_path)
    (tmp_path / parts[1]).mkdir()
    assert f"{parts[1]} holds no folders of png or jpg frames" in error_line(name, tmp_path)


# Kinetics-food

HEADING = "label,youtube_id,time_start,time_end,split\n"


def kinetics(root: Path, train: list[str], val: list[str], names: tuple[str, str] = ("train.csv", "val.csv")) -> None:
    """Lists with one row for every food class, and the given rows."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    filler = [f"{label},none{k:07d},0,10,train" for k, label in enumerate(kinetics_food.FOOD)]
    (root / names[0]).write_text(HEADING + "\n".join([*filler, *train]) + "\n")
    (root / names[1]).write_text(HEADING + "\n".join(val) + "\n")


TRAIN = [
    "making pizza,---0dWlqevI,19,29,train",
    "making sushi,-0abc_DEF12,0,10,train",
    "archery,aaaaaaaaaaa,1,11,train",
]
VAL = ["making pizza,zzzzzzzzzzz,100,110,val"]


@pytest.mark.parametrize("flat", [True, False])
def test_kinetics_food_takes_the_food_classes(tmp_path: Path, flat: bool, caplog: pytest.LogCaptureFixture) -> None:
    kinetics(tmp_path, TRAIN, VAL)
    files = ["---0dWlqevI_000019_000029.mp4", "aaaaaaaaaaa_000001_000011.mp4", "zzzzzzzzzzz_000100_000110.mp4"]
    folders = ["train/making pizza", "train/archery", "val/making pizza"]
    touch(tmp_path, [name if flat else f"{folder}/{name}" for folder, name in zip(folders, files, strict=True)])
    videos = found("kinetics_food", tmp_path, classes=True)
    assert splits(videos) == {f"making pizza/{files[0]}": "train", f"making pizza/{files[2]}": "val"}
    assert {(video.class_name, video.window_mode) for video in videos} == {("making pizza", "disjoint")}
    assert all(video.path.is_file() for video in videos)
    assert "18 of 20 listed videos are missing; 0 are in both lists" in caplog.text
    assert [video.name for video in found("kinetics_food", tmp_path, only_classes="archery")] == [f"archery/{files[1]}"]


def test_kinetics_food_has_seventeen_classes() -> None:
    assert len(kinetics_food.FOOD) == len(set(kinetics_food.FOOD)) == 17
    assert not any("," in name for name in kinetics_food.FOOD)


def test_kinetics_food_keeps_a_youtube_video_in_one_split(tmp_path: Path) -> None:
    kinetics(
        tmp_path, [*TRAIN, "making tea,zzzzzzzzzzz,5,15,train"], VAL, ("annotations/train.csv", "annotations/val.csv")
    )
    touch(tmp_path, ["zzzzzzzzzzz_000005_000015.mp4", "zzzzzzzzzzz_000100_000110.mp4", "-0abc_DEF12_000000_000010.mp4"])
    videos = found("kinetics_food", tmp_path, only_classes="making tea,making pizza,making sushi")
    assert [(video.name.split("/")[0], video.split) for video in videos] == [
        ("making pizza", "val"), ("making sushi", "train"),
    ]  # fmt: skip


def test_incomplete_kinetics_food_is_an_error(tmp_path: Path) -> None:
    assert "holds no file train.csv (nor annotations/train.csv); kinetics_food needs" in error_line(
        "kinetics_food", tmp_path
    )
    kinetics(tmp_path, TRAIN, VAL, ("train.csv", "validate.csv"))
    assert "none of 20 listed videos exists, such as " in error_line("kinetics_food", tmp_path)
    wrong = error_line("kinetics_food", tmp_path, only_classes="making pizzas")
    assert "source.only_classes: making pizzas is no class" in wrong and "nearest is making pizza" in wrong
    touch(tmp_path, [f"{part}/zzzzzzzzzzz_000100_000110.mp4" for part in ("a", "b")])
    assert "are one video; keep one" in error_line("kinetics_food", tmp_path)
    kinetics(tmp_path, ["making pizza,x,soon,29,train"], VAL)
    assert "train.csv, line 19: soon,29: time_start,time_end must be numbers" in error_line("kinetics_food", tmp_path)
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start\n")
    assert "train.csv, line 1: has no column time_end" in error_line("kinetics_food", tmp_path)
    (tmp_path / "train.csv").unlink()
    assert "holds no file train.csv" in error_line("kinetics_food", tmp_path)


def test_kinetics_food_ingested(tmp_path: Path) -> None:
    kinetics(tmp_path / "k", TRAIN, VAL)
    write_video(tmp_path / "k/train/---0dWlqevI_000019_000029.mp4", "libx264")
    write_video(tmp_path / "k/val/zzzzzzzzzzz_000100_000110.mp4", "libx264", frames=9)
    config = source_config(name="kinetics_food", path=str(tmp_path / "k"), classes=True)
    ingest(config, CLIPS, SHARDS, tmp_path / "out", jobs=1)
    index = read_index(tmp_path / "out")
    assert {name: count["clips"] for name, count in index.counts.items()} == {"train": 5, "val": 2}


def test_every_source_is_documented() -> None:
    page = (ROOT / "docs/data.md").read_text()
    assert [name for name in SOURCES if f"\n## {name}\n" not in page] == []
