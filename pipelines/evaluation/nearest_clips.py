"""Check for copying: how near generated clips come to the nearest real one in the detector's features, compared with how near
other real clips come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.dataset import loader
from pipelines.evaluation import reference_features
from pipelines.evaluation.config import EvaluationConfig

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NearestClips:
    """``positions`` of the nearest real clip of each generated one, and the median distances of generated and of other
    real clips (``held_out``) to their nearest real ones.
    """

    positions: tuple[int, ...]
    generated: float
    held_out: float

    @property
    def verdict(self) -> str:
        """The comparison in words."""
        ratio = self.generated / self.held_out if self.held_out > 0 else float("inf")
        text = f"The median distance to the nearest real clip is {self.generated:.3g}; that of other real clips is"
        text = f"{text} {self.held_out:.3g} ({ratio:.2f} times)."
        if ratio < 0.75:
            return f"{text} Generated clips are nearer to the real ones than other real clips are: the model may be copying."
        return f"{text} Generated clips are no nearer than other real clips: no sign of copying."


def nearest(real: Array, generated: Array, real_vs_real: Array) -> NearestClips:
    """Nearest neighbors by Euclidean distance of features [N, D], scaled to the standard deviations of ``real``."""
    scale = np.maximum(real.std(axis=0), 1e-8)
    distances, positions = _nearest(real / scale, generated / scale)
    others, _ = _nearest(real / scale, real_vs_real / scale)
    return NearestClips(
        positions=tuple(positions.tolist()), generated=float(np.median(distances)), held_out=float(np.median(others))
    )


def _nearest(real: Array, others: Array) -> tuple[Array, NDArray[np.int64]]:
    squares = (others**2).sum(1)[:, None] - 2 * others @ real.T + (real**2).sum(1)
    positions = squares.argmin(axis=1)
    return np.sqrt(np.maximum(squares[np.arange(len(others)), positions], 0)), positions


def clips_at(folder: Path, config: EvaluationConfig, positions: tuple[int, ...], videos: int) -> torch.Tensor:
    """The real clips at these positions of the protocol's order of ``videos`` clips, uint8 [B, T, 3, H, W]."""
    protocol = config.measured_by()
    part = reference_features.parts_of(loader.read_index(folder), protocol, videos)["reference"]
    ranges = [range(position, position + 1) for position in positions]
    clips = [next(reference_features.clips(folder, protocol, part, config.seed, [one])) for one in ranges]
    return torch.stack([clip.frames for clip in clips])
