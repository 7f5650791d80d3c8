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

    def first(self, videos: int) -> FeatureBlock:
        """The block of the first ``videos`` clips alone."""
        rows = len(self.features) // self.videos * videos
        return FeatureBlock(features=self.features[:rows], names=self.names[:videos], videos=videos)


def join(blocks: Sequence[FeatureBlock]) -> FeatureBlock:
    """All blocks as one, in their order."""
    return FeatureBlock(
        features=np.concatenate([block.features for block in blocks]),
        names=tuple(name for block in blocks for name in block.names),
        videos=sum(block.videos for block in blocks),
    )


def feature_key(detector: Detector, kind: str, **clips: Any) -> dict[str, Any]:
    """All that features depend on: the detector, and which ``clips`` of which ``kind`` (real, fake, folder)."""
    return {"kind": kind, **clips, "detector": detector.network, "detector_digest": detector.digest}


class FeatureCache:
    """Blocks below ``address``, a folder or an s3:// address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def read(self, key: Mapping[str, Any], number: int, videos: int) -> FeatureBlock | None:
        """The first ``videos`` clips of block ``number``; ``None`` if it is missing, damaged or has fewer."""
        try:
            data = file_io.read_bytes(self._path(key, f"{number:06d}.npz"))
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                names, features = tuple(file["names"].tolist()), file["features"]
                block = FeatureBlock(features=features, names=names, videos=int(file["videos"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return block.first(videos) if block.videos >= videos else None

    def write(self, key: Mapping[str, Any], number: int, block: FeatureBlock) -> None:
        """Store a block; with the first one also the key as JSON, for people."""
        memory = io.BytesIO()
        np.savez(memory, features=block.features, names=np.array(block.names, dtype=np.str_), videos=block.videos)
        if number == 0:
            text = json.dumps(dict(key), indent=1, sort_keys=True) + "\n"
            file_io.write_bytes(self._path(key, "key.json"), text.encode())
        file_io.write_bytes(self._path(key, f"{number:06d}.npz"), memory.getvalue())

    def _path(self, key: Mapping[str, Any], name: str) -> str:
        text = json.dumps({"format": FORMAT, **key}, sort_keys=True, separators=(",", ":"))
        return file_io.join(self.address, hashlib.sha256(text.encode()).hexdigest(), name)
