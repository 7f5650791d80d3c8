"""Cost of ingest relative to decoding: ``python -m benchmarks.ingest [--clips FOLDER] [--files 300] [--runs 3] [--memory]``

The files of ``--clips`` from 100 kB on (default ../shared/data/clips; else videos made here) are repeated to
``--files``. In turns: bare: decord alone on two processes, no resize, nothing kept; ingest: the stage's work by two
processes, decoding by PyAV; with decord: the same with source.decoder=decord; ray: by PyAV through Ray, its start
included. Frames a second. ``--memory``: peak memory of all processes with 20 and with 2 000 files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.given import folder_or
from benchmarks.reading import make_videos
from digan.errors import UserError
from pipelines.exit_status import run_stage

SHARED = Path("../shared/data/clips")
SHARD_MEGABYTES = (
    1.0  # where memory is watched: 20 files fill shards of this size, so that only the number of files differs
)
SMALLEST = 100_000  # bytes: two of the shared files have too few frames for a clip


def count_frames(address: str) -> int:
    """Decode a file with the pipeline's decoder and count its frames."""
    from pipelines.video import decoder

    return sum(1 for _ in decoder.decode(Path(address)).frames)


def bare_decoding(address: str) -> int:
    """Decode a file with decord alone and count its frames; PyAV where decord fails."""
    import decord

    try:
        reader = decord.VideoReader(address, num_threads=1)
        total = 0
        for start in range(0, len(reader), 32):
            total += reader.get_batch(range(start, min(start + 32, len(reader)))).shape[0]
        return total
    except Exception:
        return count_frames(address)


def large_files(folder: Path, smallest: int) -> list[Path]:
    """The files of a folder from so many bytes on."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size >= smallest)
    if not found:
        raise UserError(
            f"--clips {folder}: no file of {smallest} bytes or more; name another folder or lower --smallest"
        )
    return found


def repeated(folder: Path, given: list[Path], count: int) -> Path:
    """``count`` files: the given ones under new names."""
    folder.mkdir(parents=True)
    for number in range(count):
        path = given[number % len(given)]
        try:
            os.link(path, folder / f"{number:05d}{path.suffix}")
        except OSError:
            shutil.copy(path, folder / f"{number:05d}{path.suffix}")
    return folder


def run_ingest(
    raw: Path,
    out: Path,
    encoding: str,
    *,
    on_ray: bool = False,
    resolution: int = 128,
    megabytes: float = 16.0,
    decoder: str = "pyav",
) -> int:
    """Ingest and return the number of decoded frames."""
    import json

    from pipelines import params
    from pipelines.cluster import ray_cluster, ray_tasks
    from pipelines.dataset import ingest_tasks
    from pipelines.dataset.shard_writer import ShardsConfig
    from pipelines.ingest import ingest

    defaults = params.load()
    values = defaults.as_dict()
    source = replace(defaults.source, name="folder", path=str(raw), classes=False, decoder=decoder)
    clips = type(defaults.clips)(**{**values["clips"], "resolution": resolution})
    shards = ShardsConfig(**{**values["shards"], "encoding": encoding, "megabytes": megabytes})
    shutil.rmtree(out, ignore_errors=True)
    if on_ray:
        with ray_cluster.connect(defaults.cluster):
            ingest(source, clips, shards, out, run=lambda wanted: ray_tasks.run(ingest_tasks.run_ingest_task, wanted))
    else:
        ingest(source, clips, shards, out)
    report = json.loads((out / "ingest_report.json").read_text())
    if report["rejected"]:
        raise UserError(f"--clips: not all files are usable: {report['rejected']}; remove them or raise --smallest")
    return sum(int(frames) * files for frames, files in report["frames"].items())


def run_bare(raw: Path) -> int:
    """Bare decoding of all files by two processes."""
    from pipelines.video.isolation import IsolatedPool

    paths = [str(path) for path in sorted(raw.iterdir())]
    with IsolatedPool("benchmarks.ingest:bare_decoding", processes=2) as pool:
        return sum(pool.map(paths, lambda _: 600.0))


@contextmanager
def watched() -> Iterator[list[float]]:
    """Peak megabytes of this process and its descendants (PSS: shared pages count once) within the block."""
    import psutil

    most, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            most[0] = max(most[0], total / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--encoding", default="jpeg")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--smallest", type=int, default=SMALLEST, help="bytes of a file of --clips, at least")
    parser.add_argument("--memory", type=int, nargs="*", metavar="FILES")
    parser.add_argument("--no-ray", action="store_true")
    arguments = parser.parse_args()
    size = arguments.resolution
    with tempfile.TemporaryDirectory(prefix="digan-ingest-") as name:
        folder = Path(name)
        clips = folder_or("--clips", arguments.clips, SHARED)
        if arguments.memory is not None:
            make_videos(folder / "made", 5, frames=32)
            given = sorted((folder / "made").iterdir())
        elif clips is not None:
            given = large_files(clips, arguments.smallest)
        else:
            make_videos(folder / "made", 12)
            given = sorted((folder / "made").iterdir())
        if arguments.memory is not None:
            for count in arguments.memory or (20, 200, 2000):
                raw = repeated(folder / str(count), given, count)
                with watched() as most:
                    run_ingest(raw, folder / "out", arguments.encoding, megabytes=SHARD_MEGABYTES)
                print(f"{count:5} files: {most[0]:.0f} MB at most, all processes", flush=True)
            return
        raw = repeated(folder / "raw", given, arguments.files)
        ways: dict[str, Callable[[], int]] = {
            "bare": lambda: run_bare(raw),
            "ingest": lambda: run_ingest(raw, folder / "out", arguments.encoding, resolution=size),
            "with decord": lambda: run_ingest(
                raw, folder / "out", arguments.encoding, resolution=size, decoder="decord"
            ),
        }
        if not arguments.no_ray:
            ways["ray"] = lambda: run_ingest(raw, folder / "out", arguments.encoding, on_ray=True, resolution=size)
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.runs):
            for way, work in ways.items():
                began = time.perf_counter()
                frames = work()
                found[way].append(frames / (time.perf_counter() - began))
        print(
            f"{arguments.files} files, {frames} frames, {arguments.encoding}, {size}x{size}; frames/s, median (min-max)"
        )
        for way, rates in found.items():
            ratio = statistics.median(a / b for a, b in zip(rates, found["bare"], strict=True))
            print(f"{way:12} {statistics.median(rates):8.0f} ({min(rates):.0f}-{max(rates):.0f})  ratio {ratio:.2f}")


if __name__ == "__main__":
    run_stage(main)
