"""All detectors: a row of ``ENTRIES`` and a loader are what a new one needs."""

from __future__ import annotations

from digan.metrics.networks import c3d, i3d
from pipelines.detectors import networks
from pipelines.detectors.detector import DetectorEntry

I3D = "the Kinetics-400 I3D state dict of the PyTorch line"
TORCHSCRIPT = "the I3D TorchScript file of the StyleGAN-V line"
INCEPTION = "the Inception TorchScript file of the StyleGAN line"
TRANSFORMER = "a traced video transformer"

ENTRIES = (
    DetectorEntry("i3d", "fvd", i3d.MIN_FRAMES, networks.load_i3d, I3D, kernel="kvd"),
    DetectorEntry(
        "i3d_torchscript", "fvd", i3d.MIN_FRAMES, networks.load_i3d_scripted, TORCHSCRIPT, kernel="kvd", runs_code=True
    ),
    DetectorEntry(
        "transnetv2", "frechet_transnetv2", 2, networks.load_transnetv2, read=networks.transnetv2_file, is_stand_in=True
    ),
    DetectorEntry(
        "i3d_untrained", "frechet_i3d_untrained", i3d.MIN_FRAMES, networks.load_i3d_untrained, is_stand_in=True
    ),
    DetectorEntry(
        "c3d", "inception_score", c3d.FRAMES, networks.load_c3d, networks.C3D, measure="inception_score", is_extra=True
    ),
    DetectorEntry(
        "inception_frames",
        "fid_frames",
        1,
        networks.load_inception,
        INCEPTION,
        kernel="kid_frames",
        is_extra=True,
        runs_code=True,
    ),
    DetectorEntry(
        "video_transformer",
        "frechet_video_transformer",
        1,
        networks.load_video_transformer,
        TRANSFORMER,
        is_extra=True,
        runs_code=True,
    ),
)
TABLE = {entry.network: entry for entry in ENTRIES}
DETECTORS = tuple(entry.network for entry in ENTRIES if not entry.is_extra)
EXTRA_DETECTORS = tuple(entry.network for entry in ENTRIES if entry.is_extra)
