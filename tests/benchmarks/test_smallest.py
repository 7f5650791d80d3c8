"""Each benchmark runs to its end at its smallest size and prints finite figures; their values there mean nothing."""

from __future__ import annotations

import ast
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from digan import class_names
from digan.generator_io import save_generator
from digan.models.config import NetworkConfig
from digan.models.generator import VideoGenerator
from pipelines.sources import synthetic_files, toy
from tests.conftest import ROOT
from tests.pipelines.sweeps.small_sweep import write_sweep

SMALL = "--resolution 32 --channels 4"
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
UPDATES = (50, 500, 5000)  # of a run that must last some seconds: the first that is enough for the machine's speed
# name -> options, and lines that are printed, with # for a figure
SMALLEST = {
    "encodings": ("--clips {videos} --resolution 32 --most 8", ["real vs. real, *: #", "webp # lossless # # #", "jpeg 75 # # # # #"]),
    "evaluation": (
        "--clips 2 --rounds 1 --passes 2 --memory 2",
        ["| # clips/s | # clips/s | # |", "| another model | 0 | 20 |", "| 2 | # MB |"],
    ),
    "generator": (f"--threads 1 --runs 1 {SMALL} --frames 2", ["median: ours # s, plain # s, ratio #"]),
    "gpu": (
        f"--device cpu {SMALL} --batches 4 --updates 1 --runs 1 --matrix 64 --sample-resolutions 32 --sample-frames 3",
        ["4 fp32 # # # # % #", "4 bf16 # # # # % #", "32x32, 3 frames: fp32 #, tf32 #, bf16 #; *"],
    ),
    "ingest": (
        "--clips {videos} --smallest 1 --files 4 --runs 1 --resolution 32",
        ["bare # (#-#) ratio 1.00", "ingest # (#-#) ratio #", "with decord # (#-#) ratio #", "ray # (#-#) ratio #"],
    ),
    "ingest --memory": ("4", ["4 files: # MB at most, all processes"]),
    "long_clip": (
        f"{SMALL} --batch 1 --updates 1 --frames 32",
        ["clips of 32 frames: 1 updates *", "* 32 frames need # times the memory of 16 in training and # times in *"],
    ),
    "overhead": (
        "--threads 1 --resolution 32 --channels 4 --batch 4 --pairs 2 --seconds 8 --updates {more_updates}",
        ["bare # clips/s, stage train #, cost of steps # %", "checkpoint, snapshot and samples # s, *", "*: cost # % (steps # +- # %, *"],
    ),
    "plain_step": (
        f"--threads 1 --runs 1 {SMALL} --steps 1",
        ["plain fp32 # clips/s", "ours fp32 # clips/s, ratio # (#-#), first losses agree *", "ours bf16 # clips/s, ratio # (#-#), *"],
    ),
    "reading": (
        "--runs 1 --videos 6 --seconds 0.1",
        ["bare # (#-#)", "s3 # (#-#)", "plain # (#-#)", "reader / bare: #", "s3 / reader: #", "reader / plain: #"],
    ),
    "reading --parse": ("--runs 1 --videos 6", ["us per picture: parse #, webdataset #, decode #"]),
    "reading --memory": ("0.1 --videos 6", ["10 # # #", "1000 # # #"]),
    "sanity": ("--videos {videos} --resolution 32", ["* real vs. real # (95 % interval # to #), *", "| jpeg | 95 75 50 | # # # | *"]),
    "stand_in": (
        "--videos {videos} --resolution 32 --per-video 1 --splits 2 --candidates transnet20x20",
        ["| transnetv2 20x20 mean (448) | 448 | # | *"],
    ),
    "sweep": (
        "--clips 48 --trials 1 --seeds 1 --videos 8 --params {small}/params.yaml --shards {small}/outputs/shards --out {out}",
        ["asha # # # # (#) #", "full # # # # (#) #", "asha spent # of the clips of the full sweep"],
    ),
    "toy_shapes": ("--model {model} --videos 1 --frames 2", ["real # frames: #% show *", "generated # frames: #% show *"]),
    "train_step": ("--threads 1 --runs 1 --sizes 32/4", ["32x32/4 fp32 # (#-#) # # %", "32x32/4 bf16 # (#-#) # # %"]),
    "two_workers": (
        "--resolution 32 --channels 4 --batch 16 --runs 1 --seconds 0.2 --updates {updates}",
        ["one worker # clips/s, two # clips/s, ratio #; processes that share nothing #", "*; reached # (claim: 0.8)"],
    ),
}  # fmt: skip


def unlisted(folder: Path) -> set[str]:
    """Programs of a folder, files that define ``main``, without a smallest size."""
    defined = {
        path.stem: {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in folder.glob("*.py")
    }
    return {name for name, functions in defined.items() if "main" in functions} - {case.split()[0] for case in SMALLEST}


def missing(shown: str, expected: list[str]) -> list[str]:
    """The expected lines that are not shown."""
    lines = [" ".join(line.split()) for line in shown.splitlines()]

    def pattern(line: str) -> str:
        return re.escape(line).replace(r"\#", f"({NUMBER.pattern})").replace(r"\*", ".*")

    return [line for line in expected if not any(re.fullmatch(pattern(line), each) for each in lines)]


def test_every_benchmark_is_listed(tmp_path: Path) -> None:
    assert not unlisted(ROOT / "benchmarks")
    (tmp_path / "new.py").write_text("def main() -> None: ...\n")
    assert unlisted(tmp_path) == {"new"}


def test_figures_are_told_from_other_words() -> None:
    assert missing("one   1,234.5 (-1e-06)\ntwo nan\n", ["one # (#)", "two #", "three *"]) == ["two #", "three *"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of videos, one with params.yaml and shards, a generator of toy classes, and one that is not there."""
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "videos").mkdir()
    for number in range(8):
        video = toy.render(toy.draw_label(0, number), frames=24, size=64)
        synthetic_files.write_video(folder / f"videos/{number}.mp4", video)
    write_sweep(folder / "small")
    classes = ["coral_disc", "leaf_ring", "sky_bar", "violet_post"]
    config = NetworkConfig(
        resolution=32, channel_base=256, channel_max=8, mapping_layers=1, modulation_rank=2, classes=len(classes)
    )
    save_generator(VideoGenerator(config).reset(generator=torch.Generator().manual_seed(0)).eval(), folder / "model")
    class_names.write(folder / "model", classes)
    shutil.copy(ROOT / "params.yaml", folder)
    return {"folder": folder, **{name: folder / name for name in ("videos", "small", "model", "out")}}


def run(case: str, options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    name, *mode = case.split()
    command = [sys.executable, "-m", f"benchmarks.{name}", *mode, *options.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALLEST)
def test_runs_to_its_end(case: str, places: dict[str, Path]) -> None:
    options, expected = SMALLEST[case]
    for updates in UPDATES:
        done = run(
            case, options.format_map({**places, "updates": updates, "more_updates": 4 * updates}), places["folder"]
        )
        if "raise --updates" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert not missing(done.stdout, expected), done.stdout
    assert not re.search(r"\b(nan|inf|infinity)\b", done.stdout, re.IGNORECASE), done.stdout
    assert all(math.isfinite(float(number.replace(",", ""))) for number in NUMBER.findall(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "options", "line"),
    [
        ("encodings", "--clips {out}", "error: --clips {out}: there is no such folder; name a folder of videos"),
        ("ingest", "--clips {out}", "error: --clips {out}: there is no such folder; name a folder of videos"),
        ("ingest", "--clips {videos}", "error: --clips {videos}: no file of 100000 bytes or more; name another *"),
        ("sanity", "--videos {out}", "error: --videos {out}: there is no such folder; name a folder of videos"),
        ("sanity", "--videos {small}", "error: --videos {small}: 0 mp4 files of 16 frames or more; two halves need 4"),
        ("stand_in", "--videos {out}", "error: --videos {out}: there is no such folder; name a folder of videos"),
        ("gpu", "--device nonsense", "gpu.py: error: --device nonsense: no device of PyTorch; use cuda, cuda:1 or cpu"),
    ],
)
def test_wrong_options_are_refused_in_one_line(case: str, options: str, line: str, places: dict[str, Path]) -> None:
    done = run(case, options.format_map({**places, "out": "no/such"}), places["folder"])
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert not missing(done.stderr, [line.format_map({**places, "out": "no/such"})]), done.stderr
