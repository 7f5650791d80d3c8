"""All detectors: a row of ``TABLE`` and a loader are what a new one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from digan.metrics.networks import c3d, i3d
from pipelines.detectors import networks, scripted
from pipelines.detectors.detector import Detector
from pipelines.detectors.networks import LoadedNetwork


@dataclass(frozen=True)
class DetectorEntry:
    """A row of the table.

    ``load`` takes the bytes of the weights (none for a stand-in), a text that names them in errors, and the
    protocol's way of resizing (``crop`` or ``squash``). ``kernel`` names the kernel distance, ``kernel_<name>`` where it is
    empty. A file that ``runs_code`` must be named by its SHA-256. An ``is_extra`` detector is measured beside the main one.
    """

    name: str
    metric_name: str
    load: Callable[[bytes, str, str], LoadedNetwork]
    min_frames: int
    _: KW_ONLY
    kernel: str = ""
    measure: str = "frechet"
    is_stand_in: bool = False
    is_extra: bool = False
    runs_code: bool = False

    def detector(self, data: bytes, place: str, resize: str) -> Detector:
        """The detector with these weights; a ``UserError`` that begins with ``place`` where they do not fit."""
        network = self.load(data, place, resize)
        return Detector(
            network=self.name,
            metric_name=self.metric_name,
            digest=network.digest,
            weights_sha256=network.weights_sha256,
            min_frames=self.min_frames,
            embed=network.embed,
            measure=self.measure,
            kernel=self.kernel,
            is_stand_in=self.is_stand_in,
        )


TABLE = {
    row.name: row
    for row in (
        DetectorEntry("i3d", "fvd", networks.load_i3d, i3d.MIN_FRAMES, kernel="kvd"),
        DetectorEntry("i3d_torchscript", "fvd", scripted.load_i3d, i3d.MIN_FRAMES, kernel="kvd", runs_code=True),
        DetectorEntry("transnetv2", "frechet_transnetv2", networks.load_transnetv2, 2, is_stand_in=True),
        DetectorEntry(
            "i3d_untrained", "frechet_i3d_untrained", networks.load_i3d_untrained, i3d.MIN_FRAMES, is_stand_in=True
        ),
        DetectorEntry(
            "c3d", "inception_score", networks.load_c3d, c3d.FRAMES, measure="inception_score", is_extra=True
        ),
        DetectorEntry(
            "inception_frames", "fid_frames", scripted.load_inception_frames, 1, kernel="kid_frames", is_extra=True
        ),
        DetectorEntry(
            "video_transformer", "frechet_video_transformer", scripted.load_video_transformer, 1, is_extra=True
        ),
    )
}
DETECTORS = tuple(name for name, row in TABLE.items() if not row.is_extra)
EXTRA_DETECTORS = tuple(name for name, row in TABLE.items() if row.is_extra)
