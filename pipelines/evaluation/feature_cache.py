"""Features of clips, kept in chunks under the digest of all that they depend on, on a path or on S3.

A chunk appears whole or not at all, so an embedding that is killed goes on behind its last chunk, and a second evaluation
of the same clips reads them. The number of clips is no part of the key: more clips of the same draw are more chunks.
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

CHUNK = 64  # clips
FORMAT = "features-1"


@dataclass(frozen=True, kw_only=True)
class FeatureBlock:
    """Features float64 [B, D] of clips and their names (empty for generated ones)."""

    features: NDArray[np.float64]
    names: tuple[str, ...]
    videos: int

    def first(self, videos: int) -> FeatureBlock:
        """Those of the first clips alone."""
        rows = len(self.features) // self.videos * videos
        return FeatureBlock(features=self.features[:rows], names=self.names[:videos], videos=videos)


def join(chunks: Sequence[FeatureBlock]) -> FeatureBlock:
    """All chunks, one after the other."""
    return FeatureBlock(
        features=np.concatenate([chunk.features for chunk in chunks]),
        names=tuple(name for chunk in chunks for name in chunk.names),
        videos=sum(chunk.videos for chunk in chunks),
    )


def feature_key(detector: Detector, kind: str, **clips: Any) -> dict[str, Any]:
    """All that features depend on: the detector, and which ``clips`` of which ``kind`` (real, fake, folder)."""
    return {"kind": kind, **clips, "detector": detector.network, "detector_digest": detector.digest}


def digest_of(key: Mapping[str, Any]) -> str:
    """SHA-256 of a key; equal keys, equal digest."""
    text = json.dumps({"format": FORMAT, **key}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class FeatureCache:
    """Chunks below ``address``, a folder or an s3:// address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def read(self, key: Mapping[str, Any], number: int, videos: int) -> FeatureBlock | None:
        """The first ``videos`` clips of chunk ``number``; ``None`` where they are not there or are damaged."""
        try:
            data = file_io.read_bytes(self._place(key, number))
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                chunk = FeatureBlock(
                    features=file["features"], names=tuple(file["names"].tolist()), videos=int(file["videos"])
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return chunk.first(videos) if chunk.videos >= videos else None

    def write(self, key: Mapping[str, Any], number: int, chunk: FeatureBlock) -> None:
        """Keep a chunk; beside the first one lies the key, for people."""
        memory = io.BytesIO()
        names: Sequence[str] = chunk.names
        np.savez(memory, features=chunk.features, names=np.array(names, dtype=np.str_), videos=chunk.videos)
        if number == 0:
            text = json.dumps(dict(key), indent=1, sort_keys=True) + "\n"
            file_io.write_bytes(file_io.join(self.address, digest_of(key), "key.json"), text.encode())
        file_io.write_bytes(self._place(key, number), memory.getvalue())

    def _place(self, key: Mapping[str, Any], number: int) -> str:
        return file_io.join(self.address, digest_of(key), f"{number:06d}.npz")
