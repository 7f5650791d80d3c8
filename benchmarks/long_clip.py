"""Claim: training and sampling need hardly more memory for a clip of 128 frames than for one of 16.

Run: python -m benchmarks.long_clip [--resolution 128] [--channels 512] [--batch 2] [--updates 2] [--precision fp32]
[--runs 1] [--frames 128]. The published sizes at 128x128. Real files are ingested as clips of 16 and of --frames frames; each measurement
is a process of its own: updates with data read from the shards, the first with the penalty, and one video sampled. Peak resident memory
of the process, in MB.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.line import stage, write_params
from digan.models.generator import VideoGenerator
from digan.sampling import sample
from digan.system import peak_memory
from digan.training.loop import train_step
from digan.training.numerics import set_numerics
from digan.training.state import TrainingState
from pipelines import params as parameters
from pipelines.dataset.loader import read, read_index
from pipelines.sources import synthetic_files, toy

VIDEOS = 12
SHORT = 16  # frames


def peak() -> float:
    """Peak resident memory of this process, MB."""
    return peak_memory() / 2**20


def trained(folder: Path, updates: int) -> tuple[float, float]:
    """Peak memory before the first update and after the last one."""
    params = parameters.load(folder / "params.yaml")
    index = read_index(folder / "outputs/shards")
    device = torch.device("cpu")
    set_numerics(params.training, device)
    state = TrainingState(params.training, params.model.config(resolution=index.resolution, classes=0), device)
    before = peak()
    batch_size = params.training.batch_size
    reader = read(folder / "outputs/shards", reader_index=0, num_readers=1, seed=0, batch_size=batch_size)
    for _ in range(updates):
        train_step(state, [next(reader)])
    return before, peak()


def sampled(folder: Path, frames: int) -> tuple[float, float, bytes]:
    """Peak memory before and after one video of so many frames, and its first and last frame."""
    params = parameters.load(folder / "params.yaml")
    index = read_index(folder / "outputs/shards")
    generator = VideoGenerator(params.model.config(resolution=index.resolution, classes=0))
    generator.reset(generator=torch.Generator().manual_seed(0)).eval()
    sample(generator, seeds=[0], times=torch.zeros(1))
    before = peak()
    video = sample(generator, seeds=[1], times=torch.linspace(0, 1, frames))
    return before, peak(), video[0, [0, -1]].numpy().tobytes()


def main() -> None:
    """Prints a line a measurement, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--updates", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--frames", type=int, default=128, help="of the longer clips")
    options = parser.parse_args()
    lengths = (SHORT, options.frames)
    training: dict[int, list[float]] = {frames: [] for frames in lengths}
    sampling: dict[int, list[float]] = {frames: [] for frames in lengths}
    ends = {}
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / "raw"
        raw.mkdir()
        for number in range(VIDEOS):
            synthetic_files.write_video(
                raw / f"{number}.mp4",
                toy.render(toy.draw_label(0, number), frames=options.frames, size=options.resolution),
            )
        for frames in lengths:
            folder = Path(temporary) / str(frames)
            folder.mkdir()
            changes = {
                "source.name": "folder",
                "source.path": str(raw),
                "source.classes": False,
                "clips.resolution": options.resolution,
                "clips.frames": frames,
                "clips.validation_share": 0.2,
                "model.channel_max": options.channels,
                "training.batch_size": options.batch,
                "training.micro_batch": options.batch,
                "training.precision": options.precision,
                "training.mismatch_weight": 0.0,
                "training.augment": "color,translation",
                "cluster.workers": 1,
            }
            write_params(folder, changes)
            stage("ingest", folder)
        for _, frames in itertools.product(range(options.runs), lengths):
            folder = Path(temporary) / str(frames)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as process:
                before, trains = process.submit(trained, folder, options.updates).result()
                begun, samples, ends[frames] = process.submit(sampled, folder, frames).result()
            training[frames].append(trains)
            sampling[frames].append(samples)
            print(
                f"clips of {frames} frames: {options.updates} updates of {options.batch} clips {trains:.0f} MB at the peak"
                f" ({before:.0f} before), one video of {frames} frames {samples:.0f} MB ({begun:.0f} before)",
                flush=True,
            )
    more_training, more_sampling = (
        statistics.median(found[options.frames]) / statistics.median(found[SHORT]) for found in (training, sampling)
    )
    print(
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, medians: {options.frames} frames need"
        f" {more_training:.2f} times the memory of {SHORT} in training and {more_sampling:.2f} times in sampling;"
        f" first and last frame {'equal' if ends[SHORT] == ends[options.frames] else 'differ'}"
    )


if __name__ == "__main__":
    main()
