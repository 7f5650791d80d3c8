"""The embedded data set: one smooth bright shape that moves over a plain background, in real H.264 files.

What is in a video (shape, colour, size, background) and how it moves (path, speed, direction) is drawn independently
(``source.toy.classes`` leaves but some pairs of colour and shape, and may add the way: ``coral_disc_left``) and lies as
JSON beside it. Shapes are signed distance functions, so edges are anti-aliased at any size. Equal seeds give equal files:
pixels come from numpy, and x264 runs with one thread and fixed settings.
Legend: T frames, S pixels of a side; positions in [-1, 1], x right, y down.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from digan import atomic
from digan.errors import UserError
from pipelines.sources.config import CommonConfig, RawSource, split_names
from pipelines.sources.layout import check_classes, no_class
from pipelines.video.raw_video import RawVideo

VERSION = 7  # goes up with every change of what is drawn
SIZE, FRAMES, FPS = 128, 20, 12  # few more frames than a clip has: a clip shows most of the way
CRF = "12"
PROGRESS_SECONDS = 5.0
CACHE = Path("outputs/raw/toy")

COLOURS = {  # name: sRGB
    "coral": (240, 98, 84), "leaf": (76, 172, 84), "sky": (66, 148, 226), "violet": (136, 98, 206),
}  # fmt: skip
BACKGROUNDS = {
    "paper": (246, 240, 228), "mist": (222, 232, 240), "mint": (216, 238, 222), "blush": (248, 224, 220),
}  # fmt: skip
SHAPES = ("disc", "ring", "bar", "post")
PATHS = ("line", "circle", "hop", "wave")
WAYS = {"right": 0.0, "down": np.pi / 2, "left": np.pi, "up": -np.pi / 2}  # radians; y points down
ASTRAY = np.pi / 8  # at most so far from it, radians
PATHS_ONWARDS = ("line", "wave")  # a way is kept on these alone
CLASSES = tuple(
    f"{colour}_{shape}{way}" for way in ("", *(f"_{way}" for way in WAYS)) for colour in COLOURS for shape in SHAPES
)


@dataclass(frozen=True, kw_only=True)
class ToyConfig(RawSource):
    """The section ``source.toy``."""

    name = "toy"
    makes_videos = True
    videos: int
    classes: str
    seed: int

    def __post_init__(self) -> None:
        if not 2 <= self.videos <= 1_000_000:
            raise UserError(f"source.toy.videos={self.videos}: must be from 2 to 1000000; try 320")
        if self.seed < 0:
            raise UserError(f"source.toy.seed={self.seed}: must not be negative; try 0")
        classes_in(self.classes)

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """Make the files under ``outputs/raw/toy`` unless they exist already."""
        folder = CACHE / f"seed{self.seed}"
        names = [f"{number:06d}" for number in range(self.videos)]
        classes = list(classes_in(self.classes))
        wanted = {"version": VERSION, "seed": self.seed, "videos": self.videos, "classes": classes}
        index = folder / "index.json"
        labels: dict[str, Any] = {}
        if index.is_file():
            found = json.loads(index.read_text())
            sound = found["made"] == wanted and all((folder / f"{name}.mp4").is_file() for name in names)
            labels = found["labels"] if sound else {}
        if not labels:
            labels = _make(folder, names, wanted)
        found = [
            RawVideo(
                name=f"{class_of(labels[name])}/{name}.mp4",
                path=folder / f"{name}.mp4",
                class_name=class_of(labels[name]),
            )
            for name in names
        ]
        return check_classes(common, found)


def classes_in(text: str) -> tuple[str, ...]:
    """The classes that ``source.toy.classes`` names, where * stands for anything (``coral_disc_*``): each once, in order."""
    found: list[str] = []
    for name in split_names(text):
        if not (fitting := [each for each in CLASSES if fnmatchcase(each, name)]):
            raise no_class("source.toy.classes", name, CLASSES, "the toy")
        found += fitting
    return tuple(dict.fromkeys(found))


def _make(folder: Path, names: list[str], wanted: dict[str, Any]) -> dict[str, Any]:
    """Write all files and their index, or none; returns the labels by name."""
    print(f"toy: making {len(names)} videos in {folder}", flush=True)
    labels = {}
    try:
        with atomic.replacing(folder) as part:
            part.mkdir()
            start = shown = time.monotonic()
            for number, name in enumerate(names, 1):
                labels[name] = label = draw_label(wanted["seed"], number - 1, wanted["classes"])
                write_video(part / f"{name}.mp4", render(label))
                (part / f"{name}.json").write_text(json.dumps(label, indent=1, sort_keys=True) + "\n")
                if (now := time.monotonic()) - shown > PROGRESS_SECONDS:
                    shown, rate = now, number / (now - start)
                    left = (len(names) - number) / rate
                    print(f"toy: {number} of {len(names)}, {rate:.0f} videos/s, {left:.0f} s left", flush=True)
            (part / "index.json").write_text(json.dumps({"made": wanted, "labels": labels}, sort_keys=True))
    except OSError as error:  # PyAV's own error, on a full disk, names no file
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return labels


def draw_label(seed: int, number: int, classes: Sequence[str] = ()) -> dict[str, Any]:
    """What video ``number`` shows, one of ``classes`` in turn (none: any); depends on the seed and the number alone."""
    entropy = hashlib.sha256(f"toy/{VERSION}/{seed}/{number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(entropy[:8], "big"))
    colours, backgrounds = list(COLOURS), list(BACKGROUNDS)
    label: dict[str, Any] = {
        "shape": SHAPES[number % len(SHAPES)],
        "colour": colours[random.integers(len(colours))],
        "background": backgrounds[random.integers(len(backgrounds))],
        "size": round(float(random.uniform(0.52, 0.60)), 4),  # radius; the picture reaches from -1 to 1
        "path": PATHS[random.integers(len(PATHS))],
        "speed": round(float(random.uniform(0.85, 1)), 4),  # 1: once across, a third of a circle or a whole hop
        "direction": round(float(random.uniform(0, 2 * np.pi)), 4),  # radians: of the way, or where the circle begins
        "turn": int(random.choice((-1, 1))),  # -1 or 1: which way round, or to which side
        "phase": round(float(random.uniform(0, 1)), 4),  # where on its way the object is
    }
    if classes:
        label["colour"], label["shape"], *way = classes[number % len(classes)].split("_")
        if way:
            label["way"] = way[0]
            label["path"] = PATHS_ONWARDS[PATHS.index(label["path"]) % len(PATHS_ONWARDS)]
            label["direction"] = round(WAYS[way[0]] + ASTRAY * (label["direction"] / np.pi - 1), 4)
    return label


def class_of(label: dict[str, Any]) -> str:
    """The class of a video: what is in it, such as ``coral_ring``, and where its way was asked for that too."""
    return "_".join([label["colour"], label["shape"], *([label["way"]] if "way" in label else [])])


def positions(label: dict[str, Any], frames: int = FRAMES) -> np.ndarray:
    """Where the centre of the object is, float64 [T, 2]; never so far out that the object leaves the picture."""
    t = np.arange(frames) / (frames - 1)
    speed, phase = label["speed"], label["phase"]
    room = 0.97 - label["size"]  # farthest centre in each direction
    along = np.array([np.cos(label["direction"]), np.sin(label["direction"])])
    across = np.array([-along[1], along[0]]) * label["turn"]
    way = (1 - speed) * (2 * phase - 1) + speed * (2 * t - 1)  # from one side to the other, evenly
    if label["path"] == "line":
        return room * way[:, None] * along
    if label["path"] == "circle":
        angle = label["direction"] + label["turn"] * 2 * np.pi * 0.35 * speed * t
        return 0.9 * room * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if label["path"] == "wave":
        side = 0.3 * np.sin(2 * np.pi * (0.6 * speed * t + phase))
        return room * (0.9 * way[:, None] * along + side[:, None] * across)
    # hop: thrown up from the floor, it comes down further on
    hop = phase * (1 - speed) + speed * t
    height = 4 * hop * (1 - hop)  # 0 on the floor, 1 at the top
    return room * np.stack([0.8 * way * label["turn"], 0.6 - 1.2 * height], axis=1)


def distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to the shape of radius about 1 around the origin, negative inside; y points down."""
    if shape == "disc":
        return np.hypot(x, y) - 0.92
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.66) - 0.28
    along, across = (x, y) if shape == "bar" else (y, x)  # a post stands upright
    return np.hypot(np.maximum(np.abs(along) - 0.58, 0), across) - 0.38


def render(label: dict[str, Any], size: int = SIZE, frames: int = FRAMES) -> np.ndarray:
    """The video that a label describes, uint8 [T, S, S, 3], edges one pixel soft."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    base = np.array(BACKGROUNDS[label["background"]], dtype=np.float64)
    shade = 1 - 0.07 * (axis + 1) / 2  # a little darker towards the floor
    background = np.broadcast_to(base * shade[:, None, None], (size, size, 3))
    colour = np.array(COLOURS[label["colour"]], dtype=np.float64)
    video = np.empty((frames, size, size, 3), dtype=np.uint8)
    for number, (centre_x, centre_y) in enumerate(positions(label, frames)):
        video[number] = _quantise(background)
        reach = label["size"] * 1.15
        columns = slice(*np.searchsorted(axis, [centre_x - reach, centre_x + reach]))
        rows = slice(*np.searchsorted(axis, [centre_y - reach, centre_y + reach]))
        x, y = (axis[None, columns] - centre_x) / label["size"], (axis[rows, None] - centre_y) / label["size"]
        x, y = np.broadcast_arrays(x, y)
        pixels = -distance(label["shape"], x, y) * label["size"] * size / 2
        cover = np.clip(pixels + 0.5, 0, 1)[..., None]
        lit = colour * (1.04 - 0.10 * (y[..., None] + 1) / 2)  # lighter on top
        video[number, rows, columns] = _quantise(background[rows, columns] * (1 - cover) + lit * cover)
    return video


def _quantise(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(picture + 0.5), 0, 255).astype(np.uint8)


def write_video(path: Path, video: np.ndarray) -> None:
    """uint8 [T, S, S, 3] -> an H.264 mp4 that any player shows (yuv420p); equal pictures give equal bytes."""
    import av

    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = video.shape[2], video.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": CRF, "preset": "medium", "threads": "1", "flags": "+bitexact"}
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
