"""A network with its preprocessing (``Detector``), and a row of the table from which it is loaded (``DetectorEntry``).

Legend: B batch, T times, H, W pixels, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digan.errors import UserError
from pipelines.detectors.networks import NetworkEmbedding


@dataclass(frozen=True)
class DetectorTraits:
    """What is known of a detector without its weights.

    ``kernel`` names the kernel distance on its features (empty: ``kernel_<network>``). ``measure`` is ``frechet`` (also
    gives the kernel distance) or ``inception_score``. The values of a detector that ``is_stand_in`` are not FVD.
    """

    network: str
    metric_name: str
    min_frames: int
    _: KW_ONLY
    kernel: str = ""
    measure: str = "frechet"
    is_stand_in: bool = False

    @property
    def kernel_name(self) -> str:
        """The name of the kernel distance."""
        return self.kernel or f"kernel_{self.network}"


@dataclass(frozen=True, kw_only=True)
class Detector(DetectorTraits):
    """A network with its preprocessing: ``embed`` maps videos uint8 [B, T, 3, H, W] to features.

    ``digest`` covers weights and preprocessing: values are comparable if their digests are equal.
    """

    embed: Callable[[torch.Tensor], torch.Tensor]
    digest: str
    weights_sha256: str

    def described(self, data_digest: str) -> dict[str, Any]:
        """Return the keys of a result's JSON that name the detector and the data."""
        keys = {"detector": self.network, "detector_digest": self.digest, "weights_sha256": self.weights_sha256}
        return {**keys, "data_digest": data_digest}

    def features(self, videos: torch.Tensor) -> NDArray[np.float64]:
        """Return features float64 [B, D] of ``videos``, uint8 [B, T, 3, H, W]; per-frame detectors return [B T, D]."""
        if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"videos {videos.dtype} {tuple(videos.shape)}: expected uint8 [B, T, 3, H, W]")
        if videos.shape[1] < self.min_frames:
            needs = f"{self.network} needs {self.min_frames} or more"
            remedy = "cut longer clips or choose another evaluation.detector"
            raise UserError(f"clips.frames={videos.shape[1]}: {needs}; {remedy}")
        with torch.inference_mode():
            found = self.embed(videos).double().cpu().numpy()
        if bad := int((~np.isfinite(found).all(axis=1)).sum()):
            problem = f"features of {bad} of {len(found)} clips are not finite"
            raise UserError(f"{self.network}: {problem}; the videos or the detector's weights are damaged")
        return found


@dataclass(frozen=True)
class DetectorEntry(DetectorTraits):
    """A row of the table of detectors.

    ``load`` turns the weights into an embedding and a digest. Its arguments are the bytes of the file, a text that names
    the file in errors, and the protocol's way of resizing (``crop`` or ``squash``). ``file`` describes the file in errors;
    a stand-in has none, but may ``read`` weights of its own. A file that ``runs_code`` must be named by its SHA-256. An
    ``is_extra`` detector is measured beside the main one.
    """

    load: Callable[[bytes, str, str], tuple[NetworkEmbedding, str]]
    file: str = ""
    _: KW_ONLY
    read: Callable[[], bytes] = bytes
    is_extra: bool = False
    runs_code: bool = False

    def detector(
        self,
        data: bytes,
        setting: str,
        resize: str = "crop",
        *,
        expected_sha256: str = "",
        named_by: str = "evaluation.weights_sha256",
    ) -> Detector:
        """Return the detector with these weights; ``named_by`` is where params.yaml has their SHA-256.

        Errors: ``UserError`` that names ``setting`` if they do not fit, before any code in the file runs.
        """
        sha256 = hashlib.sha256(data).hexdigest() if data else ""
        if expected_sha256 not in ("", sha256):
            remedy = f"fetch the right file, or correct {named_by}"
            raise UserError(f"{setting}: SHA-256 is {sha256}, {named_by} says {expected_sha256}; {remedy}")
        if self.runs_code and not expected_sha256:
            problem = f"{self.network} runs the code in the file, so {named_by} must name it"
            raise UserError(f"{setting}: {problem}; this file's is {sha256}")
        embed, digest = self.load(data, setting, resize)
        traits: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(DetectorTraits)}
        return Detector(**traits, embed=embed, digest=digest, weights_sha256=sha256)
