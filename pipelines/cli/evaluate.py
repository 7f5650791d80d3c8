"""`digan evaluate`: compare the videos of two folders."""

from __future__ import annotations

import argparse
import sys

from digan.atomic import check_files_writable, write_json
from digan.errors import UserError
from pipelines.arguments import run_command
from pipelines.detectors.table import DETECTORS
from pipelines.evaluation.config import EvaluationConfig
from pipelines.evaluation.frame_size import FrameSize
from pipelines.evaluation.protocols import PROTOCOLS
from pipelines.storage.file_io import local

CACHE = "~/.cache/digan/features"
SAME_NAMES = ("protocol", "detector", "weights", "weights_sha256", "videos", "draws", "seed", "batch_size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    detectors = "i3d gives FVD and needs --weights (default: transnetv2)"
    add("--real", required=True, type=local, help="folder of real videos, or with a folder of frames per video")
    add("--fake", required=True, type=local, help="the same for the videos to evaluate")
    add("--protocol", default="quick", choices=list(PROTOCOLS), help="number and choice of clips (default: quick, 256)")
    add("--detector", default="transnetv2", choices=DETECTORS, help=detectors)
    add("--weights", default="", help="i3d: path or s3:// address of the Kinetics-400 state dict")
    add("--weights-sha256", default="", help="expected SHA-256 of the weights")
    add("--videos", type=int, default=0, help="clips per draw, instead of the protocol's number")
    add("--draws", type=int, default=0, help="maximum number of draws, instead of the protocol's number")
    add("--frames", type=int, default=0, help="frames per clip, instead of the protocol's number (quick: 16)")
    add("--size", default="", help="crop and resize all clips, to 64 or 128x96 (default: all must have one size)")
    add("--seed", type=int, default=0, help="seed of the choice of clips (default: 0)")
    add("--batch-size", type=int, default=8, help="clips per forward pass of the detector (default: 8)")
    add("--cache", default=CACHE, help=f"feature cache, a folder or an s3:// address (default: {CACHE})")
    add("--ray", default="", metavar="ADDRESS", help="embed on a Ray cluster (auto, ray://host:port)")
    add("--ray-gpus", type=int, default=0, choices=(0, 1), help="GPUs per Ray task (default: 0)")
    add("--out", type=local, help="also write the results to this .json file")
    add("--against", type=local, help="compare with the results in this .json file")
    parser.set_defaults(command=evaluate_command)


def evaluate_command(arguments: argparse.Namespace) -> None:
    """Run `digan evaluate`: the same folders and options give the same results."""
    config = EvaluationConfig(
        **{name: getattr(arguments, name) for name in SAME_NAMES},
        extra_detectors="",
        curve_videos=0,
        truncation=1.0,
        cache=arguments.cache,
        runs_on="ray" if arguments.ray else "process",
    )
    if arguments.frames < 0:
        raise UserError(f"--frames {arguments.frames}: must be 0 (the protocol's number) or more")
    size = FrameSize.parse(arguments.size) if arguments.size else None
    if arguments.out is not None:
        check_files_writable(arguments.out)
    from pipelines.cluster.ray_cluster import ClusterAddressError, ClusterConfig
    from pipelines.evaluation import folder_comparison

    earlier = None if arguments.against is None else folder_comparison.read_earlier(arguments.against)
    one_worker = {"workers": 1, "min_workers": 0, "cpus_per_worker": 1, "max_failures": 0}
    real, fake, frames, gpus = arguments.real, arguments.fake, arguments.frames, arguments.ray_gpus
    try:
        cluster = None
        if arguments.ray:
            cluster = ClusterConfig(address=arguments.ray, gpus_per_worker=gpus, storage="", **one_worker)
        result = folder_comparison.evaluate_folders(real, fake, config, frames=frames, size=size, cluster=cluster)
    except ClusterAddressError as error:  # names --ray, since this command reads no params.yaml
        remedy = "start a cluster with `ray start --head`, or omit --ray to embed in this process"
        raise UserError(f"--ray {arguments.ray}: {error.reason}; {remedy}") from error
    if arguments.out is not None:
        write_json(arguments.out, result.to_json())
    print(result.text(), flush=True)
    if earlier is not None:
        print(folder_comparison.against(result, earlier, arguments.against, margin=1.0), flush=True)


if __name__ == "__main__":
    run_command("cli.evaluate", __doc__, add_arguments, sys.argv[1:])
