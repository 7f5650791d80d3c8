"""Cost of reading pairs relative to decoding them: ``python -m benchmarks.reading [--runs 5] [--memory SECONDS]``

Clips of 16 frames at 128x128 in JPEG shards, from videos of 320x240 (made here, H.264). In turns, ``--runs`` times:
bare: the same two frames of each clip decoded in a loop from memory; reader: ``loader.read`` from disk; s3: the
same from SeaweedFS on loopback; plain: a data set that opens the source video with PyAV, decodes the 16 frames of a
clip and keeps two. Ratios are medians over the runs. With ``--memory``: how much memory a reader takes with 10 and with
1 000 shards, and how it grows over so many seconds. With ``--parse``: CPU time per stored picture of parsing shards,
by this project (SHA-256 included) and by webdataset, beside that of decoding a picture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.line import ROOT
from pipelines.exit_status import run_stage

BATCH = 16
VIDEOS, FRAMES, WIDTH, HEIGHT = 24, 160, 320, 240


def make_videos(folder: Path, count: int = VIDEOS, frames: int = FRAMES) -> None:
    """Smooth noise that drifts, so that pictures are as hard to code as a camera's."""
    import av
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        ground = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
            (2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC
        )
        grain = np.asarray(ground).astype(np.int16) + random.normal(0, 6, (2 * HEIGHT, 2 * WIDTH, 3)).astype(np.int16)
        pixels = grain.clip(0, 255).astype(np.uint8)
        with av.open(str(folder / f"{number:04d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for t in range(frames):
                view = np.ascontiguousarray(pixels[t : t + HEIGHT, 2 * t : 2 * t + WIDTH])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
            container.mux(stream.encode())


def ingest_into(folder: Path, raw: Path, *, encoding: str = "jpeg", address: str = "", resolution: int = 128) -> None:
    """The shards of ``raw`` in ``folder`` (or at ``address``)."""
    from pipelines import params
    from pipelines.dataset.shard_writer import ShardsConfig
    from pipelines.ingest import ingest

    defaults = params.load(ROOT / "params.yaml")
    values = defaults.as_dict()
    source = replace(defaults.source, name="folder", path=str(raw), classes=False, only_classes="")
    clips = type(defaults.clips)(**{**values["clips"], "resolution": resolution})
    shards = ShardsConfig(**{**values["shards"], "encoding": encoding, "megabytes": 8.0, "address": address})
    ingest(source, clips, shards, folder)


def rate(step: Callable[[], int], seconds: float) -> float:
    """Clips a second of ``step``, which says how many it did, over about ``seconds``."""
    step()
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        done += step()
    return done / passed


def bare(folder: Path) -> Callable[[], int]:
    """The pictures of the same pairs, already in memory, decoded one after the other."""
    from digan.data import pairs
    from pipelines.dataset import loader
    from pipelines.storage import file_io
    from pipelines.video import image_codec

    index = loader.read_index(folder)
    samples = [
        (sample, windows)
        for shard in index.splits["train"]
        for sample, windows in zip(
            loader.read_shard(file_io.join(index.address, shard.path), shard), shard.windows, strict=True
        )
    ]
    random = np.random.default_rng(0)
    draw = pairs.draw_pairs(512, index.frames, seed=0, reader_index=0, clips_seen=0, horizontal_flip=False)
    encoded = []
    for indices in draw.frame_indices.tolist():
        sample, windows = samples[random.integers(len(samples))]
        start = int(random.integers(windows))
        encoded.append([sample.picture(start + index) for index in indices])

    def step() -> int:
        for pair in encoded:
            for data in pair:
                image_codec.decode(data)
        return len(encoded)

    return step


def reader(path: Path | str) -> Callable[[], int]:
    """Batches of pairs as training gets them."""
    from pipelines.dataset import loader

    batches = loader.read(path, reader_index=0, num_readers=1, seed=0, batch_size=BATCH)

    def step() -> int:
        return int(next(batches).frames.shape[0])

    return step


def plain(raw: Path) -> Callable[[], int]:
    """A straightforward data set: open, seek, decode 16 frames, keep two, resize, scale to [-1, 1]."""
    import av
    import torch

    from digan.data.clips import square

    random = np.random.default_rng(0)
    paths = sorted(raw.glob("*.mp4"))

    class Plain(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> torch.Tensor:
            start = int(random.integers(FRAMES - 16))
            with av.open(str(paths[number])) as container:
                stream = container.streams.video[0]
                assert stream.time_base is not None
                first = int(start / 25 / stream.time_base)
                container.seek(first, stream=stream)
                frames = []
                for frame in container.decode(stream):
                    if frame.pts >= first:
                        frames.append(frame.to_ndarray(format="rgb24"))
                    if len(frames) == 16:
                        break
            pair = np.stack([square(frames[k % len(frames)], 128) for k in sorted(random.integers(0, 16, 2).tolist())])
            return torch.from_numpy(pair).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    data = Plain()

    def step() -> int:
        torch.stack([data[int(number)] for number in random.integers(0, len(paths), 4)])
        return 4

    return step


def parse_times(folder: Path, runs: int) -> dict[str, float]:
    """Microseconds of CPU time per picture, medians over ``runs``."""
    import webdataset as wds

    from pipelines.dataset import loader
    from pipelines.video import image_codec

    listed = loader.read_index(folder).splits["train"]

    def own() -> int:
        return sum(len(sample.spans) for shard in listed for sample in loader.read_shard(folder / shard.path, shard))

    def webdataset() -> int:
        samples = wds.WebDataset([str(folder / shard.path) for shard in listed], shardshuffle=False)
        return sum(key.endswith(".jpg") for sample in samples for key in sample)

    encoded = [sample.picture(0) for shard in listed for sample in loader.read_shard(folder / shard.path, shard)]

    def decode() -> int:
        return sum(image_codec.decode(data).ndim > 0 for data in encoded)

    found: dict[str, list[float]] = {"parse": [], "webdataset": [], "decode": []}
    for _ in range(runs):
        for name, step in (("parse", own), ("webdataset", webdataset), ("decode", decode)):
            began = time.process_time()
            count = step()
            found[name].append((time.process_time() - began) / count * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def memory_of(path: Path, seconds: float) -> tuple[float, float, int]:
    """Megabytes of a fresh process after its first 100 batches, after ``seconds``, and batches read."""
    code = (
        "import sys, time, psutil; from pipelines.dataset import loader\n"
        "r = loader.read(sys.argv[1], reader_index=0, num_readers=1, seed=0, batch_size=16, buffer_bytes=16 * 2**20)\n"
        "p = psutil.Process(); n = 0\n"
        "for n in range(1, 101): next(r)\n"
        "first = p.memory_info().rss; end = time.monotonic() + float(sys.argv[2]); most = first\n"
        "while time.monotonic() < end:\n"
        "    next(r); n += 1\n"
        "    if n % 50 == 0: most = max(most, p.memory_info().rss)\n"
        "print(first / 1e6, most / 1e6, n)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(seconds)], capture_output=True, text=True, check=True
    )
    first, most, batches = done.stdout.split()
    return float(first), float(most), int(batches)


def many_shards(folder: Path, like: Path, count: int) -> Path:
    """A set of ``count`` shards: those of another one under new names, by hard links."""
    from dataclasses import replace

    from pipelines.dataset.shard_index import digest_of, index_to_json, read_index

    index = read_index(like)
    shards = []
    (folder / "train").mkdir(parents=True)
    for number in range(count):
        shard = index.splits["train"][number % len(index.splits["train"])]
        name = f"train/{number:08d}.tar"
        os.link(like / shard.path, folder / name)
        shards.append(replace(shard, path=name))
    splits = {"train": tuple(shards), "val": ()}
    (folder / "index.json").write_text(index_to_json(replace(index, splits=splits, digest=digest_of(splits))))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", type=float, default=0.0, help="seconds of reading while memory is watched")
    parser.add_argument("--parse", action="store_true", help="compare parsing shards with webdataset's")
    parser.add_argument("--no-s3", action="store_true")
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="digan-reading-") as name:
        folder = Path(name)
        make_videos(folder / "raw", arguments.videos)
        ingest_into(folder / "shards", folder / "raw")
        if arguments.parse:
            print(
                "us per picture: "
                + ", ".join(f"{k} {v:.1f}" for k, v in parse_times(folder / "shards", arguments.runs).items())
            )
            return
        if arguments.memory:
            print(f"{'shards':>8} {'MB after 100 batches':>22} {'MB at most':>12} {'batches':>9}")
            for count in (10, 1000):
                first, most, batches = memory_of(
                    many_shards(folder / str(count), folder / "shards", count), arguments.memory
                )
                print(f"{count:8} {first:22.0f} {most:12.0f} {batches:9}")
            return
        steps: dict[str, Callable[[], int]] = {"bare": bare(folder / "shards"), "reader": reader(folder / "shards")}
        if arguments.no_s3:
            measure(steps | {"plain": plain(folder / "raw")}, arguments.runs, arguments.seconds)
            return
        from tests import s3

        with s3.running(folder / "s3") as server:
            os.environ.update(server.environment)
            ingest_into(folder / "index", folder / "raw", address=f"{server.make_bucket('reading')}/set")
            steps |= {"s3": reader(folder / "index"), "plain": plain(folder / "raw")}
            measure(steps, arguments.runs, arguments.seconds)


def measure(steps: dict[str, Callable[[], int]], runs: int, seconds: float) -> None:
    """Print the table."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, step in steps.items():
            found[name].append(rate(step, seconds))
    print(f"pairs/s, 128x128, JPEG 95 4:4:4, batch {BATCH}, {runs} runs; median (min-max)")
    for name, rates in found.items():
        print(f"{name:8} {statistics.median(rates):8.0f} ({min(rates):.0f}-{max(rates):.0f})")
    for one, other in (("reader", "bare"), ("s3", "reader"), ("reader", "plain")):
        if one in found and other in found:
            ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
            print(f"{one} / {other}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    run_stage(main)
