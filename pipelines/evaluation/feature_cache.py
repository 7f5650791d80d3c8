"""Cache of features in blocks, each under the digest of all that it depends on, in a folder or on S3.

A block is written whole or not at all, so an interrupted embedding resumes after its last block, and a second evaluation
of the same clips reads them. The key omits the number of clips: more clips of the same draw are further blocks.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.detectors import Detector
from pipelines.storage import file_io

BLOCK = 64  # clips
FORMAT = "features-1"


@dataclass(frozen=True, kw_only=True)
class FeatureBlock:
    """Features float64 [rows, D] of ``videos`` clips (one row each, or one per frame) and their names (none if generated)."""

    features: NDArray[np.float64]
    names: tuple[str, ...]
    videos: int


def join(blocks: Sequence[FeatureBlock]) -> FeatureBlock:
    """All blocks as one, in their order."""
    features = np.concatenate([block.features for block in blocks])
    names = tuple(name for block in blocks for name in block.names)
    return FeatureBlock(features=features, names=names, videos=sum(block.videos for block in blocks))


def feature_key(detector: Detector, kind: str, **clips: Any) -> dict[str, Any]:
    """All that features depend on: the detector, and which ``clips`` of which ``kind`` (real, fake, folder)."""
    return {"kind": kind, **clips, "detector": detector.network, "detector_digest": detector.digest}


class FeatureCache:
    """The blocks of features that depend on ``key``, below ``address``: a folder or an s3:// address."""

    def __init__(self, address: str, key: Mapping[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, **key}, sort_keys=True, separators=(",", ":"))
        self.key, self.folder = dict(key), file_io.join(address, hashlib.sha256(text.encode()).hexdigest())

    def read(self, number: int, videos: int) -> FeatureBlock | None:
        """The first ``videos`` clips of block ``number``; ``None`` if it is missing, damaged or has fewer."""
        try:
            data = file_io.read_bytes(file_io.join(self.folder, f"{number:06d}.npz"))
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                names, features, available = tuple(file["names"].tolist()), file["features"], int(file["videos"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if available < videos:
            return None
        return FeatureBlock(
            features=features[: len(features) // available * videos], names=names[:videos], videos=videos
        )

    def write(self, number: int, block: FeatureBlock) -> None:
        """Store a block; with the first one also the key as JSON, for people."""
        memory = io.BytesIO()
        np.savez(memory, features=block.features, names=np.array(block.names, dtype=np.str_), videos=block.videos)
        if number == 0:
            text = json.dumps(self.key, indent=1, sort_keys=True) + "\n"
            file_io.write_bytes(file_io.join(self.folder, "key.json"), text.encode())
        file_io.write_bytes(file_io.join(self.folder, f"{number:06d}.npz"), memory.getvalue())
