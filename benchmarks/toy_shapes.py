"""Whether generated toy videos show the shape and move the way that their class names.

    python -m benchmarks.toy_shapes [--model FOLDER]

Samples videos of every class of a class-conditional toy generator (default: that of ``make showcase``). In each frame, the
object is the set of pixels nearer to the class's color than to the background, whose color is that of the frame's edge.
Each of the four shapes is fitted to it in position and size; the frame shows the one that overlaps best. Printed, for real
clips (an upper bound) and for generated ones:
 - share of frames that show the asked shape (by chance: a quarter), and its overlap (intersection over union),
 - share of the object outside the fitted shape,
 - distance of the object's center between first and last frame (the frame is 2 wide), and how alike the directions are
   within a class (length of the mean over mean length: 0 for evenly spread ones, 1 for equal ones, about 0.3 by chance for
   eight videos),
 - if the classes name a direction: share of videos that move in it to within 45 degrees (by chance: a quarter).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from digan import class_names
from digan.errors import UserError
from pipelines.exit_status import run_stage
from pipelines.sources import toy

MODEL = Path("outputs/showcase/outputs/evaluation/generator")
FINE = 4  # sample points per pixel and axis for the cover of a pixel
GRID, REACH = 600, 1.5  # points per axis of a shape's mask, and its extent
SIZES = (0.85, 0.92, 1.0, 1.08, 1.16)
SHIFTS = (-0.06, -0.03, 0.0, 0.03, 0.06)


@dataclass(frozen=True)
class Fit:
    """The shape that a frame shows, its overlap with the asked shape, and the share of the object outside the best fit."""

    shape: str
    overlap: float
    stray: float


@lru_cache
def drawn(shape: str) -> np.ndarray:
    """The shape at radius 1 on a fine grid from -REACH to REACH, bool [GRID, GRID]."""
    axis = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * REACH
    columns, rows = np.meshgrid(axis, axis)
    return toy.distance(shape, columns, rows) < 0


def cover(shape: str, x: float, y: float, size: float, pixels: int) -> np.ndarray:
    """How much of each pixel the shape covers, float64 [P, P]."""
    axis = (np.arange(pixels * FINE) + 0.5) / (pixels * FINE) * 2 - 1
    columns, rows = (np.clip(((axis - at) / size / REACH + 1) / 2 * GRID, 0, GRID - 1).astype(int) for at in (x, y))
    inside = drawn(shape)[rows[:, None], columns[None]]
    return inside.reshape(pixels, FINE, pixels, FINE).mean(axis=(1, 3))


@lru_cache
def unit(shape: str) -> tuple[float, float, float]:
    """Area and center of mass of the shape at radius 1."""
    axis = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * REACH
    mask = drawn(shape)
    total = mask.sum()
    area = total * (2 * REACH / GRID) ** 2
    return float(area), float((mask.sum(0) * axis).sum() / total), float((mask.sum(1) * axis).sum() / total)


def object_of(frame_hwc: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """How much of each pixel is the object: 0 at the background's color, 1 at the object's; float64 [P, P]."""
    picture = frame_hwc.astype(np.float64)
    edge = np.median(np.concatenate([picture[:, :2], picture[:, -2:]], axis=1), axis=1)[:, None]  # [P, 1, 3], by row
    edge = np.broadcast_to(np.median(edge, axis=0, keepdims=True), edge.shape) * 0.5 + edge * 0.5
    way = np.array(colour) - edge
    return np.clip(((picture - edge) * way).sum(-1) / (way * way).sum(-1), 0, 1)


def fit(mask: np.ndarray, asked: str) -> Fit:
    """Fit every shape to the object in a frame."""
    pixels = mask.shape[0]
    total = max(mask.sum(), 1e-6)
    centre_x, centre_y = centre(mask)
    best: dict[str, tuple[float, np.ndarray]] = {}
    for shape in toy.SHAPES:
        area, off_x, off_y = unit(shape)
        size = np.sqrt(total * (2 / pixels) ** 2 / area)
        found = (-1.0, mask)
        for factor in SIZES:
            for dx in SHIFTS:
                for dy in SHIFTS:
                    s = size * factor
                    tried = cover(shape, centre_x - off_x * s + dx, centre_y - off_y * s + dy, s, pixels)
                    overlap = np.minimum(mask, tried).sum() / np.maximum(mask, tried).sum()
                    found = max(found, (overlap, tried), key=lambda each: each[0])
        best[shape] = found
    shape = max(best, key=lambda name: best[name][0])
    stray = (mask * (1 - best[shape][1])).sum() / total
    return Fit(shape=shape, overlap=best[asked][0], stray=float(stray))


def centre(mask: np.ndarray) -> np.ndarray:
    """The object's center of mass, x and y in [-1, 1]; float64 [2]."""
    axis = (np.arange(len(mask)) + 0.5) / len(mask) * 2 - 1
    return np.array([mask.sum(0) @ axis, mask.sum(1) @ axis]) / max(mask.sum(), 1e-6)


def goes(moved: np.ndarray, way: str) -> bool:
    """Whether a displacement (x, y) has the direction ``way`` to within 45 degrees; false for none."""
    along = moved @ np.array([np.cos(toy.HEADINGS[way]), np.sin(toy.HEADINGS[way])])
    return bool(along > np.linalg.norm(moved) * np.cos(np.pi / 4))


def report(name: str, videos: dict[str, list[np.ndarray]]) -> None:
    """Print one line for videos uint8 [T, H, W, 3] by class."""
    fits: dict[str, list[Fit]] = {shape: [] for shape in toy.SHAPES}
    ways: list[list[np.ndarray]] = []  # by class
    kept: list[bool] = []  # the way that the class names
    for class_name, several in videos.items():
        colour, shape, *asked = class_name.split("_")
        ways.append([])
        for video in several:
            masks = [object_of(frame, toy.COLORS[colour]) for frame in video]
            fits[shape] += [fit(mask, shape) for mask in masks]
            ways[-1].append(centre(masks[-1]) - centre(masks[0]))
            kept += [goes(ways[-1][-1], way) for way in asked]
    every = [(shape, each) for shape, several in fits.items() for each in several]
    right = np.mean([shape == each.shape for shape, each in every])
    shares = ", ".join(
        f"{s} {np.mean([each.shape == s for each in several]):.0%}" for s, several in fits.items() if several
    )
    overlap, stray = np.mean([each.overlap for _, each in every]), np.mean([each.stray for _, each in every])
    lengths = np.concatenate([np.linalg.norm(each, axis=1) for each in ways])
    alike = [np.linalg.norm(np.mean(each, axis=0)) / max(np.linalg.norm(each, axis=1).mean(), 1e-6) for each in ways]
    print(
        f"{name:10} {len(every)} frames: {right:.0%} show the asked shape ({shares}); "
        f"overlap with it {overlap:.2f}, outside {stray:.1%}; way {lengths.mean():.2f} +- {lengths.std():.2f}, "
        f"directions alike {np.mean(alike):.2f}"
        + (f", {np.mean(kept):.0%} of videos go the asked way" if kept else ""),
        flush=True,
    )


def real(classes: list[str], count: int, frames: list[int], pixels: int) -> dict[str, list[np.ndarray]]:
    """Rendered toy videos of the classes, averaged down to the size of the generator's."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in classes}
    for number in range(count * len(classes)):
        label = toy.draw_label(1, number, classes)
        video = toy.render(label)[frames].astype(np.float64)
        block = toy.SIZE // pixels
        found[toy.class_of(label)].append(video.reshape(len(frames), pixels, block, pixels, block, 3).mean(axis=(2, 4)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--videos", type=int, default=3, help="of each class")
    parser.add_argument("--frames", type=int, default=4, help="of each video, from its first to its last")
    parser.add_argument("--classes", type=Path, help="folder of classes.json, if not that of the model")
    arguments = parser.parse_args()
    import torch

    from digan.generator_io import load_generator
    from digan.sampling import sample

    generator = load_generator(arguments.model)
    classes = class_names.read(arguments.classes or arguments.model, generator.config.classes)
    if not classes:
        raise UserError(
            f"{arguments.model}: a class-conditional toy generator with its classes.json is needed; run make showcase"
        )
    times = torch.linspace(0, 1, arguments.frames)
    made = {}
    for number, name in enumerate(classes):
        seeds = [1000 * number + index for index in range(arguments.videos)]
        videos = sample(generator, seeds=seeds, times=times, labels=[number] * len(seeds))
        made[name] = list(videos.permute(0, 1, 3, 4, 2).numpy())
    pixels = generator.config.resolution
    frame_indices = np.linspace(0, 15, arguments.frames).round().astype(int).tolist()
    report("real", real(classes, arguments.videos, frame_indices, pixels))
    report("generated", made)


if __name__ == "__main__":
    run_stage(main)
