"""A detector: a network with its preprocessing, and the names of what is measured with its features.

Legend: B batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A network with its preprocessing. ``digest`` covers both: equal digests, comparable figures.

    ``measure`` says what its features are for: ``frechet`` (with the kernel distance beside it) or ``inception_score``.
    Figures of a detector that ``is_stand_in`` stand in for FVD and are none.
    """

    network: str
    metric_name: str
    digest: str
    weights_sha256: str
    min_frames: int
    embed: Callable[[torch.Tensor], torch.Tensor]
    measure: str = "frechet"
    kernel: str = ""
    is_stand_in: bool = False

    @property
    def kernel_name(self) -> str:
        """The name of the kernel distance on the same features."""
        return self.kernel or f"kernel_{self.network}"

    def described(self, data_digest: str) -> dict[str, Any]:
        """What a figure is measured with and on, for JSON."""
        return {
            "detector": self.network,
            "detector_digest": self.digest,
            "weights_sha256": self.weights_sha256,
            "data_digest": data_digest,
        }

    def features(self, videos: torch.Tensor) -> NDArray[np.float64]:
        """Features float64 [B, D] of ``videos``, uint8 [B, T, 3, H, W]; of each frame, [B T, D], for per-frame detectors."""
        if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"videos {videos.dtype} {tuple(videos.shape)}: expected uint8 [B, T, 3, H, W]")
        if videos.shape[1] < self.min_frames:
            raise UserError(
                f"clips.frames={videos.shape[1]}: {self.network} needs {self.min_frames} or more;"
                " cut longer clips or choose another evaluation.detector"
            )
        with torch.inference_mode():
            found = self.embed(videos).double().cpu().numpy()
        if not np.isfinite(found).all():
            bad = int((~np.isfinite(found).all(axis=1)).sum())
            raise UserError(
                f"{self.network}: features of {bad} of {len(found)} clips are not finite; the videos or the detector's"
                " weights are damaged"
            )
        return found
