"""Effect of image encodings on the metric, size and speed: ``python -m benchmarks.encodings [--clips FOLDER]``

Clips of 16 frames at ``--resolution`` from real videos (default ../shared/data/clips; else videos made here), each
encoded and decoded again. distance: the stand-in metric (frechet_transnetv2, not FVD) between the original and the decoded
clips, next to real vs. real: the distance between two halves of the original clips.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.given import folder_or
from benchmarks.ingest import SHARED
from benchmarks.reading import make_videos
from pipelines.exit_status import run_stage

FRAMES = 16
WAYS = (("png", 0), ("webp", 0), ("jpeg", 100), ("jpeg", 95), ("jpeg", 90), ("jpeg", 75))


def clips_of(folder: Path, resolution: int, most: int) -> np.ndarray:
    """uint8 [N, T, H, W, 3]: windows without overlap, evenly from all files."""
    from digan.data.clips import segments
    from pipelines import params
    from pipelines.video import decoder

    clips = type(params.load().clips)(**{**params.load().as_dict()["clips"], "resolution": resolution})
    found: list[list[np.ndarray]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        own: list[np.ndarray] = []
        for segment in segments(decoder.decode(path).frames, clips, "disjoint"):
            own.append(segment.frames)
            if len(own) == most:
                break
        found.append(own)
    longest = max(map(len, found))
    mixed = [own[k] for k in range(longest) for own in found if k < len(own)]
    return np.stack(mixed[: most - most % 2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--most", type=int, default=64, help="clips")
    arguments = parser.parse_args()
    from digan.metrics.frechet import frechet_from_features
    from pipelines import detectors, params
    from pipelines.video import image_codec

    detector = detectors.load(params.load().evaluation)
    with tempfile.TemporaryDirectory(prefix="digan-encodings-") as name:
        folder = folder_or("--clips", arguments.clips, SHARED)
        if folder is None:
            folder = Path(name) / "made"
            make_videos(folder, 8)
        clips = clips_of(folder, arguments.resolution, arguments.most)

    def features(clips: np.ndarray) -> np.ndarray:
        videos = torch.from_numpy(np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3)))
        return np.concatenate([detector.features(part) for part in videos.split(8)])

    plain = features(clips)
    real_vs_real = frechet_from_features(plain[::2], plain[1::2])
    frames = clips.reshape(-1, *clips.shape[2:])
    print(f"{len(clips)} clips of {FRAMES} frames, {arguments.resolution} px, {folder.name}; {detector.metric_name}")
    print(f"real vs. real, between two halves of the clips: {real_vs_real:.4g}")
    print(f"{'encoding':10} {'kB/frame':>9} {'PSNR dB':>8} {'encode/s':>9} {'decode/s':>9} {'distance':>9}")
    for encoding, quality in WAYS:
        began = time.perf_counter()
        encoded = [image_codec.encode(frame, encoding, quality) for frame in frames]
        half = time.perf_counter()
        back = np.stack([image_codec.decode(data) for data in encoded])
        end = time.perf_counter()
        error = float(np.mean((back.astype(np.float32) - frames) ** 2))
        psnr = f"{10 * np.log10(255**2 / error):.1f}" if error else "lossless"
        distance = frechet_from_features(plain, features(back.reshape(clips.shape))) if error else 0.0
        print(
            f"{encoding + (f' {quality}' if quality else ''):10} {sum(map(len, encoded)) / len(frames) / 1e3:9.2f}"
            f" {psnr:>8} {len(frames) / (half - began):9.0f} {len(frames) / (end - half):9.0f} {distance:9.3g}",
            flush=True,
        )


if __name__ == "__main__":
    run_stage(main)
