"""Is it copying? For each generated clip the nearest real one in the detector's features, beside how near held-out real
clips come to the same reals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.evaluation import reference_features
from pipelines.evaluation.protocols import EvaluationProtocol

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """``places`` of the nearest real clip of each generated one; medians of the distances of generated and of other real
    clips to their nearest real ones.
    """

    places: tuple[int, ...]
    generated: float
    held_out: float

    @property
    def verdict(self) -> str:
        """In words."""
        ratio = self.generated / self.held_out if self.held_out > 0 else float("inf")
        text = f"The median distance to the nearest real clip is {self.generated:.3g}; that of other real clips is"
        text = f"{text} {self.held_out:.3g} ({ratio:.2f} times)."
        if ratio < 0.75:
            return f"{text} Generated clips lie nearer to the real ones than other real clips do: it may be copying."
        return f"{text} Generated clips lie no nearer than other real clips do: no sign of copying."


def nearest(real: Array, fake: Array, real_vs_real: Array) -> Nearest:
    """Nearest neighbours by Euclidean distance of features scaled to the reals' deviations."""
    scale = np.maximum(real.std(axis=0), 1e-8)
    near, places = _nearest(real / scale, fake / scale)
    other, _ = _nearest(real / scale, real_vs_real / scale)
    return Nearest(
        places=tuple(int(p) for p in places), generated=float(np.median(near)), held_out=float(np.median(other))
    )


def _nearest(real: Array, others: Array) -> tuple[Array, NDArray[np.int64]]:
    squares = (others**2).sum(1)[:, None] - 2 * others @ real.T + (real**2).sum(1)
    places = squares.argmin(axis=1)
    return np.sqrt(np.maximum(squares[np.arange(len(others)), places], 0)), places


def clips_of(
    folder: Path, protocol: EvaluationProtocol, places: Sequence[int], *, videos: int, seed: int
) -> torch.Tensor:
    """The real clips at these places of the protocol's order, uint8 [B, T, 3, H, W]."""
    part, _ = reference_features.parts_of(folder, protocol, videos)
    return torch.stack(
        [next(iter(reference_features.clips(folder, protocol, part, [(0, place, 1)], seed))).frames for place in places]
    )
