"""The cost of an evaluation: features per second against a bare forward loop, embedded clips, peak memory.

    python -m benchmarks.evaluation [--detector i3d_untrained] [--clips 64] [--memory 256 2048]

1. Features per second of the evaluation (clips in memory, blocks, preprocessing, cache) over those of a bare loop of the
   network on prepared tensors; the two alternate in one process, and the median of the rounds counts.
2. Clips embedded by ten draws, by a second evaluation of the same model, and by one of another model.
3. Peak memory of a process that samples and embeds N videos, for each N of --memory (16 frames).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from digan.generator_io import save_generator
from digan.metrics.networks import i3d, transnetv2
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from digan.types import Clip
from pipelines import detectors, params
from pipelines.detectors import Detector
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Embedder, LocalExecutor, Snapshot
from pipelines.exit_status import run_stage

FRAMES, RESOLUTION, BATCHES = 16, 64, (2, 4, 8, 16)
MEMORY = """
import sys
from benchmarks.evaluation import embed_many
from digan.system import peak_memory
embed_many(int(sys.argv[1]), sys.argv[2], sys.argv[3])
print(peak_memory() / 2**20)
"""


def clips(count: int) -> torch.Tensor:
    """Noise, uint8 [count, 16, 3, 64, 64]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, FRAMES, 3, RESOLUTION, RESOLUTION), dtype=torch.uint8, generator=generator)


def named(name: str) -> Detector:
    """The detector; for ``i3d``, at 224 pixels, random weights replace those of Kinetics, at the same cost."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as weights:
        if name == "i3d":
            torch.save(i3d.untrained(0).state_dict(), weights.name)
        path = weights.name if name == "i3d" else ""
        return detectors.load(replace(params.load("params.yaml").evaluation, detector=name, weights=path))


def bare_loop(name: str, videos: torch.Tensor, batch: int) -> float:
    """Clips per second of the network alone, on prepared input."""
    if name == "transnetv2":
        network: torch.nn.Module = transnetv2.TransNetV2Trunk().eval()
        prepared = transnetv2.preprocess(videos, transnetv2.HEIGHT, transnetv2.WIDTH)
    else:
        network = i3d.untrained(0)
        prepared = i3d.preprocess(videos, 64 if name == "i3d_untrained" else 224)
    with torch.inference_mode():
        network(prepared[:batch])
        start = time.perf_counter()
        for part in prepared.split(batch):
            network(part)
        return len(videos) / (time.perf_counter() - start)


def reader(videos: torch.Tensor) -> Callable[[list[range]], Iterator[Clip]]:
    """Reads the clips at some positions of ``videos``."""
    return lambda blocks: (
        Clip(frames=videos[position], label=None, name=f"{position}") for block in blocks for position in block
    )


def own_way(detector: Detector, videos: torch.Tensor, batch: int) -> float:
    """Clips per second of the evaluation: blocks, preprocessing, network, checks, cache."""

    detector.features(videos[:batch])
    with tempfile.TemporaryDirectory() as folder:
        config = replace(params.load("params.yaml").evaluation, batch_size=batch)
        start = time.perf_counter()
        embedder(config, Path(folder)).clips({}, len(videos), reader(videos), detector)
        return len(videos) / (time.perf_counter() - start)


def model(folder: Path, seed: int) -> Snapshot:
    """A small generator."""
    config = NetworkConfig(
        resolution=RESOLUTION, classes=0, channel_base=2048, channel_max=16, mapping_layers=1, modulation_rank=2
    )
    save_generator(VideoGenerator(config).reset(generator=torch.Generator().manual_seed(seed)), folder)
    return Snapshot.of(folder)


def embedder(config: EvaluationConfig, folder: Path) -> Embedder:
    """An embedder with the settings of the stage."""
    return Embedder(config=replace(config, cache=str(folder)), executor=LocalExecutor())


def embed_many(count: int, name: str, folder: str) -> None:
    """Sample and embed ``count`` videos."""
    config = params.load("params.yaml").evaluation
    snapshot = model(Path(folder) / f"model{count}", seed=count)
    found = embedder(config, Path(folder) / f"cache{count}")
    block = found.generated(snapshot, named(name), draw=0, videos=count, available=FRAMES)
    assert len(block.features) == count


def passes(count: int) -> None:
    """Print how many clips are embedded by a first, a repeated and another evaluation."""
    seen = 0

    def embed(videos: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(videos)
        return videos.float().mean(dim=(1, 3, 4))

    counting = Detector(
        network="counting", metric_name="counting", digest="c", weights_sha256="", min_frames=1, embed=embed
    )
    config = params.load("params.yaml").evaluation
    videos = clips(count)

    print(f"| evaluation of {count} clips a draw, ten draws | real clips embedded | generated clips embedded |")
    print("| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for what, seed in (("a first model", 0), ("the same model again", 0), ("another model", 1)):
            snapshot, maker = model(folder / f"model{seed}", seed), embedder(config, folder / "cache")
            seen = 0
            maker.clips({"kind": "real"}, count, reader(videos), counting)
            real, seen = seen, 0
            for draw in range(10):
                maker.generated(snapshot, counting, draw=draw, videos=count, available=FRAMES)
            print(f"| {what} | {real} | {seen} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="i3d_untrained", choices=("i3d_untrained", "i3d", "transnetv2"))
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=64, help="clips a draw of the second table")
    parser.add_argument("--memory", type=int, nargs="*", default=[256, 2048])
    options = parser.parse_args()
    detector, videos = named(options.detector), clips(options.clips)
    best = max(BATCHES, key=lambda batch: bare_loop(options.detector, videos[:32], batch))
    bare, own = [], []
    for _ in range(options.rounds):
        bare.append(bare_loop(options.detector, videos, best))
        own.append(own_way(detector, videos, best))
    ratios = [a / b for a, b in zip(own, bare, strict=True)]
    print(
        f"{options.detector}, {torch.get_num_threads()} threads, batch {best} (the best of {BATCHES} for the bare loop)"
    )
    print("| bare forward loop | the evaluation's way | ratio (median of the rounds) |")
    print("| --- | --- | --- |")
    print(
        f"| {statistics.median(bare):.1f} clips/s | {statistics.median(own):.1f} clips/s | {statistics.median(ratios):.2f} |\n"
    )
    passes(options.passes)
    if options.memory:
        print("\n| videos | peak memory |\n| --- | --- |")
        with tempfile.TemporaryDirectory() as folder:
            for count in options.memory:
                command = [sys.executable, "-c", MEMORY, str(count), options.detector, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"| {count} | {float(done.stdout.split()[-1]):.0f} MB |", flush=True)


if __name__ == "__main__":
    run_stage(main)
