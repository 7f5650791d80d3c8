"""The built-in sky: clouds that drift with the wind over a graded sky, with dark hills in front, in real H.264 files.

It is drawn by formulas and is not the data set Sky Time-lapse. Wind, cover, light, clouds and hills are drawn
independently and stored as JSON next to each video, so that the motion of a generated sky can be compared with the truth.
Clouds are a fractal texture with a falling spectrum, which moves as a whole; hills are a line with soft edges. Equal
seeds give equal files: numpy computes the pixels in double precision, and x264 runs in one thread with fixed settings.
Legend: T frames, S pixels of a side, N texels of a side of the texture; positions from 0 to 1, x right, y down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from digan.errors import UserError
from pipelines.sources.base import CommonConfig, check_classes, check_known, split_names
from pipelines.sources.synthetic_files import BuiltInSource, make_files, quantize
from pipelines.video.raw_video import RawVideo

VERSION = 1  # increases with every change of what is drawn
SIZE, FRAMES = 128, 20  # little longer than a clip, so that a clip shows most of the motion
CLIP_FRAMES = 16  # the wind is stored per clip of this many frames
CACHE = Path("outputs/raw/sky_synthetic")

TEXELS = 256
SPECTRUM_SLOPE = 1.9  # amplitude of a cloud texture falls as 1 / frequency ** slope
LOWEST, HIGHEST = 1.5, 40.0  # frequencies of the texture, cycles per side
FLATTENING = 1.5  # clouds are wider than high by this factor
LIGHTS = {  # sRGB of zenith, horizon, the lit side of clouds and their shaded side
    "day": ((58, 112, 192), (178, 212, 238), (255, 255, 252), (194, 206, 226)),
    "dusk": ((42, 58, 122), (250, 168, 108), (255, 206, 158), (150, 108, 132)),
    "dawn": ((82, 92, 152), (246, 198, 194), (255, 234, 222), (176, 160, 192)),
    "overcast": ((94, 104, 120), (170, 178, 190), (216, 220, 226), (130, 142, 154)),
}
HILLS = ((24, 30, 34), (52, 64, 56))  # darkest and lightest


@dataclass(frozen=True, kw_only=True)
class SkySyntheticConfig(BuiltInSource):
    """The section ``source.sky_synthetic``."""

    name = "sky_synthetic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("source.sky_synthetic.classes", split_names(self.classes), LIGHTS, "the sky")

    def list_videos(self, common: CommonConfig) -> list[RawVideo]:
        """Create the files under ``outputs/raw/sky_synthetic`` unless they exist already."""
        classes = list(dict.fromkeys(split_names(self.classes)))
        if common.classes and not classes:
            remedy = f"set it to {','.join(LIGHTS)}, or source.classes to false"
            raise UserError(f"source.sky_synthetic.classes is empty, and source.classes=true needs classes; {remedy}")
        folder = CACHE / f"seed{self.seed}"
        wanted = {"version": VERSION, "seed": self.seed, "videos": self.videos, "classes": classes}
        labels = make_files(folder, wanted, lambda number: draw_label(self.seed, number, classes), render)
        videos = []
        for name, label in labels.items():
            light = label.get("class")
            shown = f"{light}/{name}.mp4" if light else f"{name}.mp4"
            videos.append(RawVideo(name=shown, path=folder / f"{name}.mp4", class_name=light))
        return check_classes(common, videos)


def draw_label(seed: int, number: int, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Draw what video ``number`` shows, from these arguments alone.

    With ``classes``, a video has the light of one of them, in turn; without, a mixture of all lights.
    """
    entropy = hashlib.sha256(f"sky_synthetic/{VERSION}/{seed}/{number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(entropy[:8], "big"))
    angle, speed = random.uniform(0, 2 * np.pi), random.uniform(0.5, 0.9)
    mixture = random.dirichlet([0.35] * len(LIGHTS))
    light = {name: round(float(share), 4) for name, share in zip(LIGHTS, mixture, strict=True)}
    if classes:
        light = {name: float(name == classes[number % len(classes)]) for name in LIGHTS}
    across, down = np.cos(angle), 0.35 * np.sin(angle)  # clouds travel more across than up and down
    scale = speed / np.hypot(across, down)
    label: dict[str, Any] = {
        "wind": [round(float(across * scale), 4), round(float(down * scale), 4)],  # (x, y), picture widths per clip
        "speed": round(float(speed), 4),  # length of the wind
        "cover": round(float(random.uniform(0.1, 0.6)), 4),  # 0: clear, 1: covered
        "light": light,  # share of each light
        "cloud_seed": int(random.integers(2**31)),
        "hills": {
            "height": round(float(random.uniform(0.11, 0.17)), 4),  # share of the picture
            "waves": [round(float(random.uniform(*span)), 4) for span in ((0.6, 1.6), (2.0, 4.0))],  # per width
            "phases": [round(float(random.uniform()), 4) for _ in range(2)],
            "brightness": round(float(random.uniform()), 4),
        },
    }
    return label | ({"class": classes[number % len(classes)]} if classes else {})


@cache
def _amplitudes() -> np.ndarray:
    """Amplitude of each frequency of a cloud texture, float64 [N, N]."""
    frequencies = np.fft.fftfreq(TEXELS) * TEXELS
    radius = np.hypot(frequencies[:, None], frequencies)
    inside = radius > LOWEST
    return np.where(inside, np.where(inside, radius, 1.0) ** -SPECTRUM_SLOPE, 0.0) * np.exp(-((radius / HIGHEST) ** 2))


def cloud_texture(seed: int) -> np.ndarray:
    """A periodic fractal texture with mean 0 and standard deviation 1, float64 [N, N]."""
    angles = np.random.default_rng([VERSION, seed]).uniform(0, 2 * np.pi, (TEXELS, TEXELS))
    texture: np.ndarray = np.fft.ifft2(_amplitudes() * np.exp(1j * angles)).real
    return texture / texture.std()


def _smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` and a cubic in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _sample(texture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The periodic texture at fractional rows [S] and columns [S], linear in between; float64 [S, S]."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[:, None], columns - left
    upper = texture[top % TEXELS] * (1 - down) + texture[(top + 1) % TEXELS] * down  # [S, N]
    return upper[:, left % TEXELS] * (1 - right) + upper[:, (left + 1) % TEXELS] * right


def _hill_cover(hills: dict[str, Any], size: int) -> np.ndarray:
    """The share of each pixel that hills cover, float64 [S, S]: a line, one pixel soft."""
    axis = (np.arange(size) + 0.5) / size
    first, second = (np.sin(2 * np.pi * (w * axis + p)) for w, p in zip(hills["waves"], hills["phases"], strict=True))
    top = 1 - hills["height"] + 0.05 * first + 0.025 * second
    return np.clip((axis[:, None] - top) * size + 0.5, 0, 1)


def render(label: dict[str, Any], size: int = SIZE, frames: int = FRAMES) -> np.ndarray:
    """Render the video that a label describes, uint8 [T, S, S, 3]."""
    shares = np.array([label["light"][name] for name in LIGHTS])
    colors = np.array(list(LIGHTS.values()), dtype=np.float64)  # [light, part, rgb]
    zenith, horizon, lit, shaded = np.tensordot(shares, colors, axes=1) / shares.sum()
    axis = (np.arange(size) + 0.5) / size
    height = np.clip(axis / 0.9, 0, 1)[:, None, None] ** 1.3
    sky = zenith * (1 - height) + horizon * height  # [S, 1, 3]
    hills = _hill_cover(label["hills"], size)[..., None]
    ground = np.array(HILLS[0]) + (np.array(HILLS[1]) - HILLS[0]) * label["hills"]["brightness"]
    texture, threshold = cloud_texture(label["cloud_seed"]), 1.0 - 2.0 * label["cover"]
    across, down = label["wind"]
    video = np.empty((frames, size, size, 3), dtype=np.uint8)
    for number in range(frames):
        t = number / (CLIP_FRAMES - 1)
        columns, rows = (axis - across * t) * (TEXELS / 4), (axis - down * t) * (TEXELS / 4 * FLATTENING)
        density = _sample(texture, rows, columns)
        opacity = 0.95 * _smooth_step(density, threshold, threshold + 1.1)[..., None]
        shade = _smooth_step(density, threshold + 0.6, threshold + 2.0)[..., None]
        picture = sky + (lit + (shaded - lit) * shade - sky) * opacity
        video[number] = quantize(picture + (ground - picture) * hills)
    return video
