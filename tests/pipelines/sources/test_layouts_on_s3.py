"""Every layout gives the same shards from S3 as from a disk."""

from __future__ import annotations

import hashlib
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digan.errors import UserError
from pipelines.dataset.loader import read_index
from pipelines.ingest import ingest
from pipelines.sources import open_source
from pipelines.storage import file_io
from pipelines.storage.file_io import Entry
from tests.conftest import clips_config, shards_config, source_config
from tests.pipelines.sources import test_sources as sources
from tests.s3 import Fault, S3Server, faulty


def test_official_layouts_are_found_on_s3(s3_bucket: str, tmp_path: Path) -> None:
    """The same videos, splits and classes as from a disk, for a data set with lists and one of frames."""
    ucf = tmp_path / "ucf"
    lists = {"classInd": "1 Archery\n2 Diving\n", "trainlist01": "Archery/a.avi 1\n", "testlist01": "Diving/b.avi\n"}
    for name, text in lists.items():
        (ucf / "ucfTrainTestlist").mkdir(parents=True, exist_ok=True)
        (ucf / "ucfTrainTestlist" / f"{name}.txt").write_text(text)
    for name in ("Archery/a.avi", "Diving/b.avi", "Diving/.hidden.avi"):
        (ucf / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        (ucf / "UCF-101" / name).write_bytes(name.encode())
    sky = tmp_path / "sky"
    for part in ("sky_train", "sky_test"):
        for number in (1, 2, 10):
            path = sky / part / "v" / "c" / f"c_frames_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(path)
    for root in (ucf, sky):
        for name in file_io.list_names(root):
            file_io.copy(root / name, file_io.join(s3_bucket, root.name, name))
    for name, root in (("ucf101", ucf), ("sky_timelapse", sky)):
        local = open_source(source_config(name=name, path=str(root)))
        remote = open_source(source_config(name=name, path=file_io.join(s3_bucket, root.name)))
        assert [(v.name, v.class_name, v.split, v.kind) for v in local] == [
            (v.name, v.class_name, v.split, v.kind) for v in remote
        ]
        assert all(video.content_tag and file_io.is_remote(video.path) for video in remote)
    with pytest.raises(UserError, match=r"^source\.path=s3://.*/nothing: no object has this prefix"):
        open_source(source_config(name="ucf101", path=file_io.join(s3_bucket, "nothing")))
    with pytest.raises(UserError, match="holds no folder UCF-101"):
        open_source(source_config(name="ucf101", path=file_io.join(s3_bucket, "sky")))


LAYOUTS: dict[str, dict[str, object]] = {
    "kinetics_food": {},
    "taichi_hd": {},
    "ucf101": {"ucf101": {"split": "both"}},
    "sky_timelapse": {"sky_timelapse": {"split": "test"}},
    "folder": {"classes": True},
    "folder with a list": {"classes": True, "folder": {"labels": "labels.csv"}},
    "frames": {"classes": True},
}
EVERYDAY = (
    "ucf101",
    "folder with a list",
    "frames",
)  # one of each kind: official splits, a list, pictures; all in the slow tests


def layout_tree(name: str, root: Path) -> None:
    """A small data set of real videos or pictures in the layout of that name."""
    if name == "kinetics_food":
        sources.kinetics(root, sources.TRAIN, sources.VAL)
        sources.write_video(root / "train/---0dWlqevI_000019_000029.mp4", "libx264")
        sources.write_video(root / "val/zzzzzzzzzzz_000100_000110.mp4", "libx264", frames=9)
    elif name == "taichi_hd":
        sources.frame_tree(root, {f"{part}/a#0{part}.mp4": "{:07d}.png" for part in ("train", "test")}, 19)
    elif name == "ucf101":
        for file in sources.UCF["train"] + sources.UCF["test"]:
            sources.write_video(root / "UCF-101" / file, "mpeg4")
        sources.ucf_lists(root, 1, **sources.UCF)
    elif name == "sky_timelapse":
        sources.frame_tree(root, sources.SKY, 11)
    elif name == "frames":
        sources.frame_tree(root, {f"class{k % 2}/v{k}": "{:04d}.jpg" for k in range(6)}, 7)
    else:
        files = [f"class{k % 2}/v{k}.mp4" for k in range(6)]
        for k, file in enumerate(files):
            sources.write_video(root / file, "libx264", frames=12 + k)
        rows = [f"{file},kind{k % 3},{('train', 'val')[k % 2]}" for k, file in enumerate(files[:5])]
        (root / "labels.csv").write_text("file,class,split\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize(
    "layout", [each if each in EVERYDAY else pytest.param(each, marks=pytest.mark.slow) for each in LAYOUTS]
)
def test_every_layout_gives_the_same_shards_from_s3_as_from_a_disk(layout: str, s3_bucket: str, tmp_path: Path) -> None:
    """Byte for byte, with the same names, classes and splits."""
    layout_tree(layout, tmp_path / "raw")
    address = file_io.join(s3_bucket, layout)
    for name in file_io.list_names(tmp_path / "raw"):
        file_io.copy(tmp_path / "raw" / name, file_io.join(address, name))
    clips = clips_config(resolution=32, frames=4, frame_stride=2, validation_share=0.5)
    for path, out in ((str(tmp_path / "raw"), "disk"), (address, "s3")):
        config = source_config(name=layout.split()[0], path=path, **LAYOUTS[layout])
        ingest(config, clips, shards_config(encoding="png"), tmp_path / out, jobs=1)
    disk, remote = (read_index(tmp_path / out) for out in ("disk", "s3"))
    assert disk.splits == remote.splits and disk.classes == remote.classes and disk.statistics == remote.statistics
    assert disk.counts["train"]["clips"] > 0
    reports = [json.loads((tmp_path / out / "ingest_report.json").read_text()) for out in ("disk", "s3")]
    assert reports[0] == reports[1] and not reports[0]["rejected"]


FOLDERS = 2000


def test_listing_many_frame_folders_looks_at_each_object_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 objects: looking at all of them again for each folder would take minutes."""
    names = [f"class{k % 7}/v{k:04d}/{frame:03d}.png" for k in range(FOLDERS) for frame in range(50)]
    objects = [Entry(name=name, bytes=len(name), content_tag=f"tag {name}") for name in names]
    listings: list[str] = []
    monkeypatch.setattr(file_io, "entries", lambda address: listings.append(str(address)) or objects)
    begun = time.process_time()
    videos = open_source(source_config(name="frames", path="s3://bucket/set", classes=True))
    assert time.process_time() - begun < 10
    assert listings == ["s3://bucket/set"]
    assert len(videos) == FOLDERS and {video.bytes for video in videos} == {50 * len(names[0])}
    tags = "\n".join(f"{entry.name} {entry.content_tag}" for entry in objects if "/v0012/" in entry.name)
    digest = hashlib.sha256(tags.encode()).hexdigest()
    assert next(v for v in videos if v.name == "class5/v0012").content_tag == f"50 {digest[:32]}"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["frames", "sky_timelapse", "taichi_hd"])
def test_frame_folders_of_a_store_are_listed_in_as_many_requests_as_it_has_pages(
    layout: str, s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(picture, "png")
    parts = {"frames": ("a", "b"), "sky_timelapse": ("sky_train", "sky_test"), "taichi_hd": ("train", "test")}[layout]
    names = [f"set/{parts[k % 2]}/v{k:04d}/{frame}.png" for k in range(FOLDERS) for frame in (0, 1)]
    client, bucket = s3_server.client(), s3_bucket.removeprefix("s3://")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.put_object(Bucket=bucket, Key=name, Body=picture.getvalue()), names))
    with faulty(s3_server, lambda *_: Fault()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.server.endpoint)
        begun = time.monotonic()
        videos = open_source(source_config(name=layout, path=file_io.join(s3_bucket, "set")))
        seconds, requests = time.monotonic() - begun, proxy.requests
    print(f"{layout}: {len(videos)} folders in {seconds:.1f} s, {requests} requests")
    assert len(videos) == FOLDERS and requests <= len(names) / 1000 + 1 and seconds < 30
