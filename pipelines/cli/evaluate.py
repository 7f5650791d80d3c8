"""The command `digan evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digan.atomic import write_json
from digan.errors import UserError
from pipelines.detectors.table import DETECTORS
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.protocols import PROTOCOLS

CACHE = "~/.cache/digan/features"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, each explained."""
    add = parser.add_argument
    add("--real", required=True, type=Path, help="folder of real videos, or with a folder of frames for each video")
    add("--fake", required=True, type=Path, help="the same with the videos to measure")
    add("--protocol", default="quick", choices=list(PROTOCOLS), help="which clips and how many (default: quick, 256)")
    add(
        "--detector",
        default="transnetv2",
        choices=DETECTORS,
        help="i3d gives FVD and needs --weights (default: transnetv2)",
    )
    add("--weights", default="", help="i3d: path or s3:// address of the Kinetics-400 state dict")
    add("--weights-sha256", default="", help="what the weights must add up to")
    add("--videos", type=int, default=0, help="clips a draw, in place of the protocol's count")
    add("--draws", type=int, default=0, help="draws at most, in place of the protocol's")
    add("--frames", type=int, default=0, help="frames a clip, in place of the protocol's (default of quick: 16)")
    add("--seed", type=int, default=0, help="which clips are drawn (default: 0)")
    add("--batch-size", type=int, default=8, help="clips embedded at once (default: 8)")
    add("--cache", default=CACHE, help=f"where features are kept, a folder or an s3:// address (default: {CACHE})")
    add(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="embed on a Ray cluster (auto, ray://host:port), not in this process",
    )
    add("--ray-gpus", type=int, default=0, choices=(0, 1), help="GPUs that a task on it takes (default: 0)")
    add("--out", type=Path, help="also write the figures to this .json file")
    add("--against", type=Path, help="a .json file of earlier figures to compare with")
    parser.set_defaults(command=evaluate_command)


def evaluate_command(arguments: argparse.Namespace) -> None:
    """`digan evaluate`: equal folders and options, equal figures."""
    config = EvaluationConfig(
        protocol=arguments.protocol,
        detector=arguments.detector,
        weights=arguments.weights,
        weights_sha256=arguments.weights_sha256,
        extra_detectors="",
        videos=arguments.videos,
        draws=arguments.draws,
        curve_videos=0,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        truncation=1.0,
        cache=arguments.cache if arguments.cache.startswith("s3://") else str(Path(arguments.cache).expanduser()),
        runs_on="ray" if arguments.ray else "process",
    )
    if arguments.frames < 0:
        raise UserError(f"--frames {arguments.frames}: must be 0 (the protocol's) or more")
    from pipelines.cluster.ray_cluster import ClusterConfig
    from pipelines.evaluation import folder_comparison

    cluster = None
    if arguments.ray:
        with _said_of_ray(arguments.ray):
            cluster = ClusterConfig(
                address=arguments.ray,
                workers=1,
                min_workers=0,
                cpus_per_worker=1,
                gpus_per_worker=arguments.ray_gpus,
                max_failures=0,
                storage="",
            )
    with _said_of_ray(arguments.ray):
        result = folder_comparison.evaluate_folders(
            arguments.real, arguments.fake, config, frames=arguments.frames, cluster=cluster
        )
    if arguments.out is not None:
        write_json(arguments.out, result.to_json())
    print(result.text(), flush=True)
    if arguments.against is not None:
        print(folder_comparison.against(result, arguments.against, margin=1.0), flush=True)


@contextmanager
def _said_of_ray(address: str) -> Iterator[None]:
    """Name the option ``--ray`` in an error of the cluster's address: this command reads no params.yaml."""
    from pipelines.cluster.ray_cluster import ClusterAddressError

    try:
        yield
    except ClusterAddressError as error:
        remedy = "start one with `ray start --head`, or leave --ray out and embed in this process"
        raise UserError(f"--ray {address}: {error.reason}; {remedy}") from error
