"""`digan evaluate --real DIR --fake DIR`: a protocol's metrics of any two folders of videos or frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from digan.errors import UserError
from digan.types import Clip
from pipelines import detectors
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Embedder, check_cache, open_executor
from pipelines.evaluation.feature_cache import feature_key
from pipelines.evaluation.frame_size import FrameSize
from pipelines.evaluation.measurement import Array, conditions, metrics_of
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult
from pipelines.evaluation.video_folder import FolderClip, VideoFolder
from pipelines.registry.alias_decision import MetricValue
from pipelines.report.progress_display import ProgressDisplay

DEFAULT_FRAMES = 16
RATE_TOLERANCE = 0.01  # relative difference of frame rates that counts as rounding
REMEDY = "digan evaluate --out writes such a file"
PROTOCOL = "{protocol_text}, seed {seed}"  # what two results must have in common, with data and detector


def evaluate_folders(
    real: Path,
    fake: Path,
    config: EvaluationConfig,
    *,
    frames: int = 0,
    size: FrameSize | None = None,
    cluster: ClusterConfig | None = None,
) -> EvaluationResult:
    """The metrics of the videos in ``fake`` against those in ``real``, embedded on ``cluster`` if it is given.

    Real vs. real is measured with other clips of ``real`` if it has as many again. Draws are disjoint parts of ``fake``'s
    clips, at most the protocol's number. Clips are resized only to ``size``, which the protocol's text then names.
    """
    check_cache(config)
    protocol = config.measured_by()
    videos, frames = protocol.videos, frames or protocol.frames or DEFAULT_FRAMES
    detector = detectors.load(config, protocol.resize)
    if frames < detector.min_frames:
        raise UserError(f"--frames {frames}: {detector.network} needs {detector.min_frames} or more")
    reals, fakes = VideoFolder(real, "--real", frames, size), VideoFolder(fake, "--fake", frames, size)
    notes = [*reals.notes, *fakes.notes, *_compare(reals, fakes)]
    drawn: list[list[Sequence[FolderClip]]] = []
    for folder, draws in ((reals, 2), (fakes, protocol.draws)):
        windows = folder.windows(choice=protocol.choice, count=draws * videos, seed=config.seed)
        if len(windows) < videos:
            unit = "videos" if protocol.choice == "videos" else "clips"
            raise UserError(
                f"{folder.option} {folder.root}: has {len(windows)} {unit} of {frames} frames, protocol {protocol.name}"
                f" takes {videos}; add videos, or set --videos {len(windows)} (its figures compare with such alone)"
            )
        drawn.append([windows[start : start + videos] for start in range(0, len(windows) - videos + 1, videos)])
    progress = ProgressDisplay("evaluate", sum(map(len, drawn)) * videos, unit="clips")
    digests = reals.digest(), fakes.digest()

    with open_executor(config, cluster) as executor:
        embedder = Embedder(config=config, executor=executor, progress=progress)

        def features(folder: VideoFolder, digest: str, windows: Sequence[FolderClip]) -> Array:
            def read(blocks: list[range]) -> Iterator[Clip]:
                return folder.read(windows[position] for block in blocks for position in block)

            names = [window.name for window in windows]
            resized = {"size": str(size)} if size else {}
            key = feature_key(detector, "folder", data_digest=digest, windows=names, frames=frames, **resized)
            return embedder.clips(key, len(windows), read, detector).features

        real_features, generated = (
            [features(folder, digest, windows) for windows in draws]
            for folder, digest, draws in zip((reals, fakes), digests, drawn, strict=True)
        )
    progress.finish()
    reference, real_vs_real = (*real_features, real_features[0][:0])[:2]
    compared = ReferenceFeatures(reference=reference, real_vs_real=real_vs_real)
    metrics = metrics_of(detector, compared, generated, videos=videos, seed=config.seed)
    measured = replace(protocol, draws=len(generated))
    how = conditions(detector, measured, frames=frames, seed=config.seed, data_digest=digests[0])
    how["protocol_text"] += f", resized to {size}" if size else ""
    return EvaluationResult(metrics=metrics, fake_digest=digests[1], size=reals.size, notes=notes, **how)


def _compare(reals: VideoFolder, fakes: VideoFolder) -> list[str]:
    """A note if the frame rates differ. Errors: ``UserError`` if the sizes do."""
    if reals.size != fakes.size:
        raise UserError(
            f"{fakes.option} {fakes.root}: its videos are {fakes.size}, those of {reals.option} {reals.root} {reals.size};"
            f" scaling changes the metric, so set the size to compare at: --size {reals.size} or --size {fakes.size}"
        )
    if reals.fps and fakes.fps and abs(reals.fps / fakes.fps - 1) > RATE_TOLERANCE:
        rates = f"{reals.option} has {reals.fps:g} frames per second, {fakes.option} {fakes.fps:g}"
        return [f"{rates}: clips are compared frame by frame, so equal motion looks different"]
    return []


def read_earlier(other: Path) -> MetricValue:
    """The metric in the .json file ``other``; ``UserError`` if it is missing or no such file."""
    source = f"--against {other}"
    return EvaluationResult.read(other, source=source, remedy=REMEDY).value(PROTOCOL, source=source, remedy=REMEDY)


def against(result: EvaluationResult, earlier: MetricValue, other: Path, margin: float) -> str:
    """Say whether the difference to the ``earlier`` metric, of the file ``other``, exceeds its spread.

    Errors: ``UserError`` if the two cannot be compared.
    """
    comparison = result.value(PROTOCOL, source="these figures", remedy=REMEDY).against(earlier, margin=margin)
    word = "lower" if comparison.difference < 0 else "higher"
    sure = "surely" if comparison.is_significant else "not surely"
    return f"{sure} {word} than {other} ({earlier.value:.4g}): {comparison.text}"
