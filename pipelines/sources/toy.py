"""The built-in data set: one smooth bright shape that moves over a plain background, in real H.264 files.

What a video shows (shape, color, size, background) and how it moves (path, speed, direction) are drawn independently and
stored as JSON next to it; ``source.toy.classes`` restricts the pairs of color and shape and may add the direction of travel
(``coral_disc_left``). Shapes are signed distance functions, so edges are anti-aliased at any size. Equal seeds give equal
files: numpy computes the pixels, and x264 runs in one thread with fixed settings.
Legend: T frames, S pixels of a side; positions in [-1, 1], x right, y down.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.sources.base import CommonConfig, check_classes, check_known, split_names
from pipelines.sources.synthetic_files import BuiltInSource, make_files, quantize
from pipelines.video.raw_video import RawVideo

VERSION = 7  # increases with every change of what is drawn
SIZE, FRAMES = 128, 20  # little longer than a clip, so that a clip shows most of the motion
CACHE = Path("outputs/raw/toy")

COLORS = {  # name: sRGB
    "coral": (240, 98, 84), "leaf": (76, 172, 84), "sky": (66, 148, 226), "violet": (136, 98, 206),
}  # fmt: skip
BACKGROUNDS = {
    "paper": (246, 240, 228), "mist": (222, 232, 240), "mint": (216, 238, 222), "blush": (248, 224, 220),
}  # fmt: skip
SHAPES = ("disc", "ring", "bar", "post")
PATHS = ("line", "circle", "hop", "wave")
HEADINGS = {"right": 0.0, "down": np.pi / 2, "left": np.pi, "up": -np.pi / 2}  # radians; y points down
HEADING_SPREAD = np.pi / 8  # largest deviation from a heading, radians
PATHS_WITH_HEADING = ("line", "wave")
ENDINGS = ("", *(f"_{heading}" for heading in HEADINGS))  # of the names of classes
CLASSES = tuple(f"{color}_{shape}{ending}" for ending in ENDINGS for color in COLORS for shape in SHAPES)


@dataclass(frozen=True, kw_only=True)
class ToyConfig(BuiltInSource):
    """The section ``source.toy``."""

    name = "toy"

    def __post_init__(self) -> None:
        super().__post_init__()
        classes_in(self.classes)

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """Create the files under ``outputs/raw/toy`` unless they exist already."""
        folder, classes = CACHE / f"seed{self.seed}", list(classes_in(self.classes))
        wanted = {"version": VERSION, "seed": self.seed, "videos": self.videos, "classes": classes}
        labels = make_files(folder, wanted, lambda number: draw_label(self.seed, number, classes), render)
        named = ((class_of(label), f"{name}.mp4") for name, label in labels.items())
        videos = [RawVideo(name=f"{group}/{file}", path=folder / file, class_name=group) for group, file in named]
        return check_classes(common, videos)


def classes_in(text: str) -> tuple[str, ...]:
    """Return the classes in ``source.toy.classes``, each once and in order; * matches anything (``coral_disc_*``)."""
    found = {pattern: fnmatch.filter(CLASSES, pattern) for pattern in split_names(text)}
    check_known("source.toy.classes", [name for name, matching in found.items() if not matching], CLASSES, "the toy")
    return tuple(dict.fromkeys(chain.from_iterable(found.values())))


def draw_label(seed: int, number: int, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Draw what video ``number`` shows, cycling through ``classes`` (empty: any), from these arguments alone."""
    entropy = hashlib.sha256(f"toy/{VERSION}/{seed}/{number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(entropy[:8], "big"))
    colors, backgrounds = list(COLORS), list(BACKGROUNDS)
    label: dict[str, Any] = {
        "shape": SHAPES[number % len(SHAPES)],
        "colour": colors[random.integers(len(colors))],
        "background": backgrounds[random.integers(len(backgrounds))],
        "size": round(float(random.uniform(0.52, 0.60)), 4),  # radius; the picture spans -1 to 1
        "path": PATHS[random.integers(len(PATHS))],
        "speed": round(float(random.uniform(0.85, 1)), 4),  # 1: once across, a third of a circle or a whole hop
        "direction": round(float(random.uniform(0, 2 * np.pi)), 4),  # radians: of travel, or where the circle begins
        "turn": int(random.choice((-1, 1))),  # -1 or 1: sense of rotation, or which side
        "phase": round(float(random.uniform(0, 1)), 4),  # position along the path
    }
    if classes:
        label["colour"], label["shape"], *heading = classes[number % len(classes)].split("_")
        if heading:
            label["way"] = heading[0]
            label["path"] = PATHS_WITH_HEADING[PATHS.index(label["path"]) % len(PATHS_WITH_HEADING)]
            label["direction"] = round(HEADINGS[heading[0]] + HEADING_SPREAD * (label["direction"] / np.pi - 1), 4)
    return label


def class_of(label: dict[str, Any]) -> str:
    """Return the class of a video: color and shape (``coral_ring``), and the heading if the label has one."""
    return "_".join([label["colour"], label["shape"], *([label["way"]] if "way" in label else [])])


def positions(label: dict[str, Any], frames: int = FRAMES) -> np.ndarray:
    """Return the center of the object over time, float64 [T, 2]; the object never leaves the picture."""
    t = np.arange(frames) / (frames - 1)
    speed, phase = label["speed"], label["phase"]
    room = 0.97 - label["size"]  # largest coordinate of the center
    along = np.array([np.cos(label["direction"]), np.sin(label["direction"])])
    across = np.array([-along[1], along[0]]) * label["turn"]
    travel = (1 - speed) * (2 * phase - 1) + speed * (2 * t - 1)  # from one side to the other, evenly
    if label["path"] == "line":
        return room * travel[:, None] * along
    if label["path"] == "circle":
        angle = label["direction"] + label["turn"] * 2 * np.pi * 0.35 * speed * t
        return 0.9 * room * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if label["path"] == "wave":
        side = 0.3 * np.sin(2 * np.pi * (0.6 * speed * t + phase))
        return room * (0.9 * travel[:, None] * along + side[:, None] * across)
    # hop: thrown up from the floor, it lands further along
    hop = phase * (1 - speed) + speed * t
    height = 4 * hop * (1 - hop)  # 0 on the floor, 1 at the top
    return room * np.stack([0.8 * travel * label["turn"], 0.6 - 1.2 * height], axis=1)


def distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the signed distance to a shape of radius about 1 around the origin, negative inside; y points down."""
    if shape == "disc":
        return np.hypot(x, y) - 0.92
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.66) - 0.28
    along, across = (x, y) if shape == "bar" else (y, x)  # a post is an upright bar
    return np.hypot(np.maximum(np.abs(along) - 0.58, 0), across) - 0.38


def render(label: dict[str, Any], size: int = SIZE, frames: int = FRAMES) -> np.ndarray:
    """Render the video that a label describes, uint8 [T, S, S, 3], with edges one pixel soft."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    base = np.array(BACKGROUNDS[label["background"]], dtype=np.float64)
    shade = 1 - 0.07 * (axis + 1) / 2  # slightly darker toward the floor
    background = np.broadcast_to(base * shade[:, None, None], (size, size, 3))
    color = np.array(COLORS[label["colour"]], dtype=np.float64)
    video = np.empty((frames, size, size, 3), dtype=np.uint8)
    for number, (center_x, center_y) in enumerate(positions(label, frames)):
        video[number] = quantize(background)
        reach = label["size"] * 1.15
        columns = slice(*np.searchsorted(axis, [center_x - reach, center_x + reach]))
        rows = slice(*np.searchsorted(axis, [center_y - reach, center_y + reach]))
        x, y = np.meshgrid((axis[columns] - center_x) / label["size"], (axis[rows] - center_y) / label["size"])
        pixels = -distance(label["shape"], x, y) * label["size"] * size / 2
        cover = np.clip(pixels + 0.5, 0, 1)[..., None]
        lit = color * (1.04 - 0.10 * (y[..., None] + 1) / 2)  # lighter on top
        video[number, rows, columns] = quantize(background[rows, columns] * (1 - cover) + lit * cover)
    return video
