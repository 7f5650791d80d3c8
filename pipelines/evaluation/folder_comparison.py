"""`digan evaluate --real DIR --fake DIR`: a protocol's figures of any two folders of videos or frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines import detectors
from pipelines.cluster.ray_cluster import ClusterConfig
from pipelines.evaluation import embedding
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Executor
from pipelines.evaluation.feature_cache import FeatureCache, feature_key
from pipelines.evaluation.figures import figures_of
from pipelines.evaluation.reference_features import ReferenceFeatures
from pipelines.evaluation.result import EvaluationResult
from pipelines.evaluation.video_folder import FolderClip, VideoFolder
from pipelines.report.progress_display import ProgressDisplay

DEFAULT_FRAMES = 16
PROTOCOL = "{protocol_text}, seed {seed}"  # what two results must have in common, beside data and detector


def evaluate_folders(
    real: Path, fake: Path, config: EvaluationConfig, *, frames: int = 0, cluster: ClusterConfig | None = None
) -> EvaluationResult:
    """The figures of the videos in ``fake`` against those in ``real``, with protocol, counts, seed and digests.

    The floor is as many other clips of ``real`` where it has them. Draws are disjoint parts of ``fake``'s clips, as many
    as there are, at most the protocol's. Features of both are cached. With ``cluster`` tasks on it embed.
    """
    protocol = config.measured_by()
    frames = frames or protocol.frames or DEFAULT_FRAMES
    detector = detectors.load(config.detectors(), protocol.resize)
    if frames < detector.min_frames:
        raise UserError(f"--frames {frames}: {detector.network} needs {detector.min_frames} or more")
    reference, fakes = VideoFolder(real, "--real", frames), VideoFolder(fake, "--fake", frames)
    videos = protocol.videos
    real_windows = reference.windows(choice=protocol.choice, count=2 * videos, seed=config.seed)
    fake_windows = fakes.windows(choice=protocol.choice, count=protocol.draws * videos, seed=config.seed)
    for folder, windows in ((reference, real_windows), (fakes, fake_windows)):
        if len(windows) < videos:
            unit = "videos" if protocol.choice == "videos" else "clips"
            raise UserError(
                f"{folder.option} {folder.root}: has {len(windows)} {unit} of {frames} frames, protocol {protocol.name}"
                f" takes {videos}; add videos, or set --videos {len(windows)} (its figures compare with such alone)"
            )
    draws = len(fake_windows) // videos
    has_floor = len(real_windows) >= 2 * videos
    progress = ProgressDisplay("evaluate", (1 + has_floor + draws) * videos, unit="clips")
    cache = FeatureCache(config.cache)

    def features(folder: VideoFolder, digest: str, windows: list[FolderClip], runner: Executor) -> Any:
        names = [f"{window.video.name}@{window.start}" for window in windows]
        key = feature_key(detector, "folder", data_digest=digest, windows=names, frames=frames)
        found = embedding.embed(
            key,
            len(windows),
            lambda spans: folder.works(windows, spans, config.batch_size),
            cache=cache,
            runner=runner,
            detector=detector,
            progress=progress,
        )
        return found.features

    data_digest, fake_digest = reference.digest(), fakes.digest()
    with embedding.open_executor(config, cluster) as runner:
        real_features = features(reference, data_digest, real_windows[:videos], runner)
        real_vs_real = real_features[:0]
        if has_floor:
            real_vs_real = features(reference, data_digest, real_windows[videos : 2 * videos], runner)
        parts = (fake_windows[draw * videos : (draw + 1) * videos] for draw in range(draws))
        drawn = [features(fakes, fake_digest, windows, runner) for windows in parts]
    progress.finish()
    real_reference = ReferenceFeatures(reference=real_features, real_vs_real=real_vs_real, index={})
    return EvaluationResult(
        metric=detector.metric_name,
        metrics=figures_of(detector, real_reference, drawn, None, videos=videos, seed=config.seed),
        protocol=protocol.name,
        protocol_text=replace(protocol, draws=draws).text(frames),
        videos=videos,
        draws=draws,
        frames=frames,
        seed=config.seed,
        is_stand_in=detector.is_stand_in,
        **detector.described(data_digest),
        fake_digest=fake_digest,
        notes=[*reference.notes, *fakes.notes],
    )


def against(result: EvaluationResult, other: Path, margin: float) -> str:
    """Whether the difference to the result in ``other`` is larger than the spread; ``UserError`` where the two cannot be
    compared.
    """
    place, remedy = f"--against {other}", "digan evaluate --out writes such a file"
    before = EvaluationResult.read(other, place=place, remedy=remedy)
    mine = result.figure(PROTOCOL, place="these figures", remedy=remedy)
    theirs = before.figure(PROTOCOL, place=place, remedy=remedy)
    comparison = mine.against(theirs, margin=margin)
    word = "lower" if comparison.difference < 0 else "higher"
    sure = "surely" if comparison.is_significant else "not surely"
    return f"{sure} {word} than {other} ({theirs.value:.4g}): {comparison.text}"
