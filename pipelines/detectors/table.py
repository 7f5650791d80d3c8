"""All detectors: a row of ``TABLE`` and a loader are what a new one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from digan.metrics.networks import c3d, i3d
from pipelines.detectors import networks, scripted
from pipelines.detectors.detector import Detector
from pipelines.detectors.networks import LoadedNetwork


@dataclass(frozen=True, kw_only=True)
class DetectorEntry:
    """A row of the table.

    ``load`` takes the bytes of the weights (none where ``has_weights`` is false), a text that names them in errors, and the
    protocol's way of resizing (``crop`` or ``squash``). ``kernel`` names the kernel distance, ``kernel_<name>`` where it is
    empty. A file that ``runs_code`` must be named by its SHA-256. An ``is_extra`` detector is measured beside the main one.
    """

    name: str
    metric_name: str
    min_frames: int
    load: Callable[[bytes, str, str], LoadedNetwork]
    kernel: str = ""
    measure: str = "frechet"
    is_stand_in: bool = False
    is_extra: bool = False
    has_weights: bool = True
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
        DetectorEntry(name="i3d", metric_name="fvd", kernel="kvd", min_frames=i3d.MIN_FRAMES, load=networks.load_i3d),
        DetectorEntry(
            name="i3d_torchscript",
            metric_name="fvd",
            kernel="kvd",
            min_frames=i3d.MIN_FRAMES,
            load=scripted.load_i3d,
            runs_code=True,
        ),
        DetectorEntry(
            name="transnetv2",
            metric_name="frechet_transnetv2",
            min_frames=2,
            load=networks.load_transnetv2,
            is_stand_in=True,
            has_weights=False,
        ),
        DetectorEntry(
            name="i3d_untrained",
            metric_name="frechet_i3d_untrained",
            min_frames=i3d.MIN_FRAMES,
            load=networks.load_i3d_untrained,
            is_stand_in=True,
            has_weights=False,
        ),
        DetectorEntry(
            name="c3d",
            metric_name="inception_score",
            measure="inception_score",
            min_frames=c3d.FRAMES,
            load=networks.load_c3d,
            is_extra=True,
        ),
        DetectorEntry(
            name="inception_frames",
            metric_name="fid_frames",
            kernel="kid_frames",
            min_frames=1,
            load=scripted.load_inception_frames,
            is_extra=True,
        ),
        DetectorEntry(
            name="video_transformer",
            metric_name="frechet_video_transformer",
            min_frames=1,
            load=scripted.load_video_transformer,
            is_extra=True,
        ),
    )
}
DETECTORS = tuple(name for name, row in TABLE.items() if not row.is_extra)
EXTRA_DETECTORS = tuple(name for name, row in TABLE.items() if row.is_extra)
