"""`digan evaluate --real DIR --fake DIR`: a protocol's figures of any two folders of videos or frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from digan.atomic import write_bytes
from digan.errors import UserError
from pipelines import detectors
from pipelines.evaluation import embedding
from pipelines.evaluation.cache import Cache
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.embedding import Runner
from pipelines.evaluation.figures import described, figures_of
from pipelines.evaluation.folders import Folder, Window
from pipelines.evaluation.reference_features import Reference
from pipelines.report.progress_display import ProgressDisplay
from pipelines.services.cluster import ClusterConfig
from pipelines.services.gate import Figure

DEFAULT_FRAMES = 16


def evaluate_folders(
    real: Path, fake: Path, config: EvaluationConfig, *, frames: int = 0, cluster: ClusterConfig | None = None
) -> dict[str, Any]:
    """The figures of the videos in ``fake`` against those in ``real``, with protocol, counts, seed and digests.

    The floor is as many other clips of ``real`` where it has them. Draws are disjoint parts of ``fake``'s clips, as many
    as there are, at most the protocol's. Features of both are cached. With ``cluster`` tasks on it embed.
    """
    protocol = config.measured_by()
    frames = frames or protocol.frames or DEFAULT_FRAMES
    detector = detectors.load(config.detectors(), protocol.resize)
    if frames < detector.min_frames:
        raise UserError(f"--frames {frames}: {detector.network} needs {detector.min_frames} or more")
    reals, fakes = Folder(real, "--real", frames), Folder(fake, "--fake", frames)
    videos = protocol.videos
    real_windows = reals.windows(choice=protocol.choice, count=2 * videos, seed=config.seed)
    fake_windows = fakes.windows(choice=protocol.choice, count=protocol.draws * videos, seed=config.seed)
    for folder, windows in ((reals, real_windows), (fakes, fake_windows)):
        if len(windows) < videos:
            unit = "videos" if protocol.choice == "videos" else "clips"
            raise UserError(
                f"{folder.option} {folder.root}: has {len(windows)} {unit} of {frames} frames, protocol {protocol.name}"
                f" takes {videos}; add videos, or set --videos {len(windows)} (its figures compare with such alone)"
            )
    draws = len(fake_windows) // videos
    has_floor = len(real_windows) >= 2 * videos
    progress = ProgressDisplay("evaluate", (1 + has_floor) * videos + draws * videos, unit="clips")
    cache = Cache(config.cache)

    def features(folder: Folder, digest: str, windows: list[Window], runner: Runner) -> Any:
        key = {
            "kind": "folder",
            "data_digest": digest,
            "windows": [f"{window.video.name}@{window.start}" for window in windows],
            "frames": frames,
            "detector": detector.network,
            "detector_digest": detector.digest,
        }
        chunks = embedding.embed(
            key,
            len(windows),
            lambda spans: folder.works(windows, spans, config.batch_size),
            cache=cache,
            runner=runner,
            detector=detector,
            progress=progress,
        )
        return embedding.features(chunks)

    digests = reals.digest(), fakes.digest()
    with embedding.runner(config, cluster) as runner:
        real_features = features(reals, digests[0], real_windows[:videos], runner)
        floor = features(reals, digests[0], real_windows[videos : 2 * videos], runner) if has_floor else real_features
        drawn = [features(fakes, digests[1], fake_windows[d * videos : (d + 1) * videos], runner) for d in range(draws)]
    progress.finish()
    index = {"data_digest": digests[0]}
    found = figures_of(
        detector, Reference(reals=real_features, floor=floor, index=index), drawn, None, videos=videos, seed=config.seed
    )
    if not has_floor:
        found = {name: replace(one, floor=float("nan")) for name, one in found.items()}
    return {
        "metric": detector.metric_name,
        **{name: one.to_json() for name, one in found.items()},
        "protocol": protocol.name,
        "protocol_text": replace(protocol, draws=draws).text(frames),
        "videos": videos,
        "draws": draws,
        "frames": frames,
        "seed": config.seed,
        "is_stand_in": detector.is_stand_in,
        **described(detector, index),
        "fake_digest": digests[1],
        "notes": [*reals.notes, *fakes.notes],
    }


def text(content: dict[str, Any]) -> str:
    """What is printed."""
    lines = []
    for name, values in content.items():
        if not isinstance(values, dict) or "mean" not in values:
            continue
        spread = f" +- {values['std']:.2g}" if content["draws"] > 1 else ""
        interval = f"  (95 % interval {values['low']:.4g} to {values['high']:.4g})" if "low" in values else ""
        lines.append(f"{name}: {values['mean']:.4g}{spread}{interval}")
        if "floor" in values:
            lines.append(f"  floor, real against real: {values['floor']:.4g}")
        if "infinite" in values:
            trust = "" if values["infinite_trusted"] else "; too few clips to trust it"
            lines.append(f"  infinitely many videos: {values['infinite']:.4g} +- {values['infinite_error']:.2g}{trust}")
    lines.append(f"protocol {content['protocol_text']}; seed {content['seed']}")
    lines.append(
        f"detector {content['detector']} {content['detector_digest'][:12]}, real data {content['data_digest'][:12]}"
    )
    if content["is_stand_in"]:
        lines.append(f"{content['metric']} is a stand-in and no FVD: --detector i3d --weights PATH gives that.")
    return "\n".join([*lines, *(f"note: {note}" for note in content["notes"])])


def figure_of(content: dict[str, Any], place: str) -> Figure:
    """The figure to compare with others; ``place`` is named where there is none."""
    return Figure.read(content, "{protocol_text}, seed {seed}", place=place, remedy="digan evaluate --out writes them")


def against(content: dict[str, Any], other: Path, margin: float) -> str:
    """Whether the difference to the figures in ``other`` is larger than the spread; ``UserError`` where they cannot be
    compared.
    """
    try:
        before = json.loads(other.read_text())
    except FileNotFoundError:
        raise UserError(f"--against {other}: no such file; write one with digan evaluate --out") from None
    except json.JSONDecodeError as error:
        raise UserError(f"--against {other}: is not JSON ({error.msg}, line {error.lineno})") from None
    mine, theirs = figure_of(content, "these figures"), figure_of(before, f"--against {other}")
    comparison = mine.against(theirs, margin=margin)
    word = "lower" if comparison.difference < 0 else "higher"
    sure = "surely" if comparison.is_significant else "not surely"
    return f"{sure} {word} than {other} ({theirs.value:.4g}): {comparison.text}"


def write(content: dict[str, Any], out: Path) -> None:
    """The figures as JSON."""
    write_bytes(out, (json.dumps(content, indent=2) + "\n").encode())
