"""Whether the metrics rank known damage of real clips by strength, with the pipeline's detector.

    python -m benchmarks.sanity --videos FOLDER [--detector transnetv2] [--weights PATH] [--per-video 1]

Videos are split into two halves by name; clean clips of one half are compared with damaged clips of the other. Each
row has the Frechet distance at each strength as a ratio to real vs. real (both halves clean), the kernel distance, whether
each rises with strength, and the lowest strength whose Frechet distance is above the 95 % interval of real vs. real.
Prints 'skipped' without --videos where ../shared/data/actions is missing.
"""

from __future__ import annotations

import argparse
import io
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import stand_in
from benchmarks.given import folder_or
from digan.metrics.feature_metrics import FRECHET, KERNEL
from digan.metrics.uncertainty import bootstrap
from pipelines import detectors, params
from pipelines.exit_status import run_stage

Videos = torch.Tensor  # uint8 [B, T, 3, H, W]


def jpeg(videos: Videos, quality: float, _: torch.Generator) -> Videos:
    """Each frame through JPEG (4:2:0, as cameras store it) at this quality."""
    frames = []
    for frame in videos.flatten(0, 1).permute(0, 2, 3, 1).numpy():
        memory = io.BytesIO()
        Image.fromarray(frame).save(memory, "jpeg", quality=int(quality))
        frames.append(np.asarray(Image.open(memory)))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).reshape(videos.shape)


DAMAGES = {**stand_in.DAMAGES, "jpeg": (jpeg, (95, 75, 50))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--detector", default="transnetv2")
    parser.add_argument("--weights", default="")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--per-video", type=int, default=1)
    options = parser.parse_args()
    folder = folder_or("--videos", options.videos, stand_in.SHARED)
    if folder is None:
        print(f"skipped: no folder {stand_in.SHARED}; name one with --videos")
        return
    config = replace(params.load("params.yaml").evaluation, detector=options.detector, weights=options.weights)
    detector = detectors.load(config)
    clips, owners = stand_in.read(folder, options.per_video, options.resolution, most=10_000)
    half = owners % 2 == 0
    start = time.process_time()

    def features(videos: Videos) -> np.ndarray:
        return np.concatenate([detector.features(part) for part in videos.split(8)])

    clean = features(clips)
    real_vs_real = {m.name: m.of(clean[half], clean[~half]) for m in (FRECHET, KERNEL)}
    stand_in.check_spread(folder, real_vs_real["frechet"])
    interval = bootstrap(FRECHET, clean[half], clean[~half], seed=0)
    print(
        f"{int(half.sum())} clean against {int((~half).sum())} damaged clips at {options.resolution} pixels; {detector.metric_name}"
        f" real vs. real {real_vs_real['frechet']:.4g} (95 % interval {interval.low:.4g} to {interval.high:.4g}),"
        f" {detector.kernel_name} real vs. real {real_vs_real['kernel']:.4g}"
    )
    print(
        f"| damage | strength | {detector.metric_name} / real vs. real | in order | above it from | {detector.kernel_name} | in order |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name, (damage, strengths) in DAMAGES.items():
        found = []
        for strength in strengths:
            damaged = features(damage(clips[torch.from_numpy(~half)], strength, torch.Generator().manual_seed(0)))
            found.append((FRECHET.of(clean[half], damaged), KERNEL.of(clean[half], damaged)))
        frechet, kernel = zip(*found, strict=True)
        lifts = " ".join(f"{value / real_vs_real['frechet']:.2f}" for value in frechet)
        above = [str(s) for s, value in zip(strengths, frechet, strict=True) if value > interval.high]
        print(
            f"| {name} | {' '.join(map(str, strengths))} | {lifts}"
            f" | {in_order(frechet)} | {above[0] if above else 'never'} | {' '.join(f'{v:.3g}' for v in kernel)}"
            f" | {in_order(kernel)} |",
            flush=True,
        )
    print(f"({time.process_time() - start:.0f} s of CPU time)")


def in_order(values: tuple[float, ...]) -> str:
    """Whether the values rise: yes, no, or - for a single one."""
    if len(values) == 1:
        return "-"
    return "yes" if all(a < b for a, b in itertools.pairwise(values)) else "no"


if __name__ == "__main__":
    run_stage(main)
