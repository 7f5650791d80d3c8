"""Which network replaces I3D best when its Kinetics weights are not available: known damage of real clips, by strength.

    python -m benchmarks.stand_in --videos FOLDER [--resolution 64] [--candidates NAME ...]

Videos are split into two halves at random, several times. The Frechet distance of clean clips of one half against
damaged clips of the other is compared with real vs. real (both clean). Per candidate and damage the table gives
 - tau: Kendall's rank correlation of strength and distance, mean over the splits (1: always in order),
 - lift: distance over real vs. real at each strength, geometric mean over the splits (1: not detected),
 - gap: (distance at the lowest strength - real vs. real) in standard deviations of real vs. real over the splits.
Prints 'skipped' without --videos where ../shared/data/actions is missing.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch.nn import functional

from benchmarks.given import folder_or
from digan.errors import UserError
from digan.metrics import frechet
from digan.metrics.networks import i3d, transnetv2
from pipelines.detectors import networks, weights
from pipelines.exit_status import run_stage
from pipelines.video import decoder

FRAMES = 16
SHARED = Path("../shared/data/actions")
Videos = torch.Tensor  # uint8 [B, T, 3, H, W]
Features = dict[str, np.ndarray]


# --- damage: videos, strength, generator -> videos
def noise(videos: Videos, strength: float, generator: torch.Generator) -> Videos:
    """Gaussian noise, standard deviation in gray levels."""
    draw = torch.randn(videos.shape, generator=generator)
    return (videos.float() + strength * draw).round().clamp(0, 255).to(torch.uint8)


def blur(videos: Videos, strength: float, _: torch.Generator) -> Videos:
    """Gaussian blur, standard deviation in pixels of a 64 pixel wide picture."""
    sigma = strength * videos.shape[-1] / 64
    reach = max(1, math.ceil(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).repeat(3, 1, 1, 1)
    x = functional.pad(videos.flatten(0, 1).float(), [reach] * 4, mode="replicate")
    x = functional.conv2d(functional.conv2d(x, taps, groups=3), taps.transpose(2, 3), groups=3)
    return x.round().clamp(0, 255).to(torch.uint8).reshape(videos.shape)


def frozen(videos: Videos, strength: float, _: torch.Generator) -> Videos:
    """The last ``strength`` (a share) of the frames repeat one frame."""
    last = round((1 - strength) * (videos.shape[1] - 1))
    return videos[:, torch.arange(videos.shape[1]).clamp(max=last)]


def shuffled(videos: Videos, strength: float, generator: torch.Generator) -> Videos:
    """A share ``strength`` of the frames is permuted at random."""
    times, result = videos.shape[1], videos.clone()
    for i in range(len(videos)):
        places = torch.randperm(times, generator=generator)[: round(strength * times)]
        result[i, places] = videos[i, places[torch.randperm(len(places), generator=generator)]]
    return result


def backwards(videos: Videos, _strength: float, _: torch.Generator) -> Videos:
    """All frames in reverse order (many real motions look alike both ways)."""
    return videos.flip(1)


DAMAGES: dict[str, tuple[Callable[[Videos, float, torch.Generator], Videos], tuple[float, ...]]] = {
    "noise": (noise, (4, 8, 16, 32)),
    "blur": (blur, (0.5, 1, 2, 4)),
    "frozen": (frozen, (0.25, 0.5, 0.75, 1.0)),
    "shuffled": (shuffled, (0.25, 0.5, 0.75, 1.0)),
    "reversed": (backwards, (1.0,)),
}


# --- candidates: videos -> one vector a clip, by name
def i3d_candidate(resolution: int) -> Callable[[Videos], Features]:
    """The untrained I3D's logits; ``resolution`` below 224 to save time."""
    network = i3d.untrained(seed=0)
    return lambda videos: {f"i3d_untrained @{resolution}": network(i3d.preprocess(videos, resolution)).numpy()}


def transnet_candidate(height: int, width: int) -> Callable[[Videos], Features]:
    """TransNetV2's trunk on clips scaled to ``height`` x ``width``, with several ways from its maps to one vector."""
    state = weights.state_dict(networks.transnetv2_file(), "transnetv2")
    network = transnetv2.TransNetV2Trunk().eval()
    network.load_state_dict(transnetv2.trunk_weights(state))

    def features(videos: Videos) -> Features:
        maps = network(transnetv2.preprocess(videos, height, width))
        means = torch.cat([m.mean(dim=(3, 4)) for m in maps], dim=2)  # [B, T, 448]
        spread = torch.cat([m.std(dim=(1, 3, 4)) for m in maps], dim=1)
        change = torch.cat([(m[:, 1:] - m[:, :-1]).abs().mean(dim=(1, 3, 4)) for m in maps], dim=1)
        found = {
            "last mean (256)": means[:, :, 192:].mean(1),
            "first two mean (192)": means[:, :, :192].mean(1),
            "first two mean+change (384)": torch.cat([means[:, :, :192].mean(1), change[:, :192]], 1),
            "mean (448)": means.mean(1),
            "change (448)": change,
            "mean+std (896)": torch.cat([means.mean(1), spread], 1),
            "mean+change (896)": torch.cat([means.mean(1), change], 1),
            "last flat, mean over time": maps[2].mean(1).flatten(1),
            "log mean (448)": torch.log(means.mean(1) + 1e-2),
            "log mean+change (896)": torch.log(torch.cat([means.mean(1), change], 1) + 1e-2),
        }
        return {f"transnetv2 {height}x{width} {name}": value.numpy() for name, value in found.items()}

    return features


CANDIDATES: dict[str, Callable[[], Callable[[Videos], Features]]] = {
    "transnet27x27": lambda: transnet_candidate(27, 27),
    "transnet20x20": lambda: transnet_candidate(20, 20),
    "transnet27x48": lambda: transnet_candidate(27, 48),
    "i3d64": lambda: i3d_candidate(64),
}


# --- the comparison
def read(folder: Path, per_video: int, resolution: int, most: int) -> tuple[Videos, np.ndarray]:
    """``per_video`` evenly spread windows of each video, squared to ``resolution``; and the video's number of each."""
    clips, owners = [], []
    count = sum(1 for _ in folder.rglob("*.mp4"))
    for number, path in enumerate(sorted(folder.rglob("*.mp4"))[:: max(1, count // most)][:most]):
        video = list(decoder.decode(path).frames)
        if len(video) < FRAMES:
            continue
        for start in np.linspace(0, len(video) - FRAMES, per_video).round().astype(int):
            frames = torch.from_numpy(np.stack(video[start : start + FRAMES])).permute(0, 3, 1, 2)
            side = min(frames.shape[-2:])
            top, left = (frames.shape[-2] - side) // 2, (frames.shape[-1] - side) // 2
            square = frames[..., top : top + side, left : left + side].float()
            small = functional.interpolate(square, size=(resolution,) * 2, mode="bilinear", antialias=True)
            clips.append(small.round().clamp(0, 255).to(torch.uint8))
            owners.append(number)
    if len(set(owners)) < 4:
        raise UserError(
            f"--videos {folder}: {len(set(owners))} mp4 files of {FRAMES} frames or more; two halves need 4"
        )
    return torch.stack(clips), np.array(owners)


def check_spread(folder: Path, real_vs_real: float) -> None:
    """Refuse videos that are all alike: there is nothing to divide by."""
    if real_vs_real <= 0:
        raise UserError(
            f"--videos {folder}: real vs. real is 0, since all clips are alike; name a folder of other videos"
        )


def embed(network: Callable[[Videos], Features], clips: Videos, batch: int = 8) -> dict[tuple[str, float], Features]:
    """Features of the clean clips (key ``clean``) and of every damage at every strength."""
    jobs: list[tuple[str, float]] = [("clean", 0.0)]
    jobs += [(name, strength) for name, (_, strengths) in DAMAGES.items() for strength in strengths]
    result: dict[tuple[str, float], Features] = {}
    for name, strength in jobs:
        generator = torch.Generator().manual_seed(0)
        damaged = clips if name == "clean" else DAMAGES[name][0](clips, strength, generator)
        parts = [network(part) for part in damaged.split(batch)]
        result[name, strength] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return result


def table(folder: Path, features: dict[tuple[str, float], Features], owners: np.ndarray, splits: int) -> list[str]:
    """The table's lines."""
    lines = []
    for candidate in features["clean", 0.0]:
        random = np.random.default_rng(0)
        videos = owners.max() + 1
        halves = [np.isin(owners, random.permutation(videos)[: videos // 2]) for _ in range(splits)]
        clean = features["clean", 0.0][candidate]
        real_vs_real = np.array([frechet.frechet_from_features(clean[h], clean[~h]) for h in halves])
        check_spread(folder, real_vs_real.min())
        cells, taus = [], []
        for name, (_, strengths) in DAMAGES.items():
            distances = np.array(
                [
                    [frechet.frechet_from_features(clean[h], features[name, s][candidate][~h]) for s in strengths]
                    for h in halves
                ]
            )
            lift = np.exp(np.log(distances / real_vs_real[:, None]).mean(0))
            gap = (distances[:, 0].mean() - real_vs_real.mean()) / real_vs_real.std(ddof=1)
            text = " ".join(f"{value:.2f}" for value in lift)
            if len(strengths) > 1:
                tau = float(np.mean([stats.kendalltau(strengths, row).statistic for row in distances]))
                taus.append(tau)
                cells.append(f"{tau:.2f}; {text}; {gap:+.1f}")
            else:
                cells.append(text)
        lines.append(f"| {candidate} | {clean.shape[1]} | {np.mean(taus):.2f} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--per-video", type=int, default=2)
    parser.add_argument("--most", type=int, default=1000, help="videos at most, evenly spread over the folder")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    options = parser.parse_args()
    if options.splits < 2:
        parser.error(f"--splits {options.splits}: must be at least 2")
    folder = folder_or("--videos", options.videos, SHARED)
    if folder is None:
        print(f"skipped: no folder {SHARED}; name one with --videos")
        return
    clips, owners = read(folder, options.per_video, options.resolution, options.most)
    what = f"{len(clips)} clips of {owners.max() + 1} videos at {options.resolution} pixels"
    print(f"{what}, {options.splits} splits by video")
    print(f"strengths: { {name: strengths for name, (_, strengths) in DAMAGES.items()} }")
    print("| candidate | width | tau | " + " | ".join(DAMAGES) + " |")
    print("| --- | --- | --- | " + " | ".join(["---"] * len(DAMAGES)) + " |", flush=True)
    for name in options.candidates:
        start = time.process_time()
        with torch.inference_mode():
            features = embed(CANDIDATES[name](), clips)
        spent = (time.process_time() - start) / (len(clips) * len(features))
        print("\n".join(table(folder, features, owners, options.splits)), flush=True)
        print(f"({name}: {1000 * spent:.0f} ms of CPU time per clip)", flush=True)


if __name__ == "__main__":
    run_stage(main)
