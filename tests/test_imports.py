"""What may import what: digan/ on torch and numpy alone, and never up or sideways between the rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Imports every module of digan/ while a finder refuses what neither torch, numpy nor the standard library has brought.
BLOCKED = """
import importlib, pkgutil, sys
import numpy, torch, torch.nn.functional, torch.distributed, torch.utils.checkpoint
given = {name.partition(".")[0] for name in sys.modules} | set(sys.stdlib_module_names) | {"digan"}
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in given:
            raise ImportError(f"{name} is blocked: digan/ imports torch, numpy and the standard library")
sys.meta_path.insert(0, Guard())
import digan
names = [module.name for module in pkgutil.walk_packages(digan.__path__, "digan.")]
for name in names:
    importlib.import_module(name)
foreign = ("pipelines", "ray", "mlflow", "scipy", "PIL", "webdataset", "ruamel")
leaked = sorted(name for name in sys.modules if name.partition(".")[0] in foreign)
assert not leaked, leaked
print(len(names))
"""

# Inside pipelines/: a room may use those named here. Stages and command line (files here) use all rooms.
FOUNDATION = {"errors", "log_setup", "params_file"}  # files of pipelines/ that any room may use
ROOMS: dict[str, set[str]] = {
    "media": set(),
    "sources": {"media"},  # a source encodes and probes videos
    "services": {"media"},  # a worker reads shards; the registry writes files
    "detectors": {"media"},  # weights are read from S3 too
    "evaluation": {"detectors", "media", "services", "report"},  # embeds on Ray, shows progress, logs to MLflow
    "report": {"media", "services"},  # the logbook writes strips and takes a channel's reports
    # Trials are whole trainings, measured as the stage evaluate does.
    "sweeps": {"media", "services", "report", "params", "detectors", "evaluation", "training_driver"},
}
TOP = {"ingest", "reference", "train", "evaluate", "register", "tune", "cli", "summary", "showcase"}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """The first-party modules that a file imports anywhere, `from package import module` as the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                place = ROOT.joinpath(*whole.split("."))
                is_module = place.with_suffix(".py").is_file() or place.is_dir()
                found.add(whole if is_module else str(node.module))
    return {name for name in found if name.partition(".")[0] in ("digan", "pipelines")}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_digan_needs_torch_and_numpy_alone() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10


def test_digan_never_imports_pipelines() -> None:
    wrong = {
        name: up for name, path in modules("digan") if (up := {i for i in imports(path) if i.startswith("pipelines")})
    }
    assert not wrong


def test_digan_rooms_stand_in_order() -> None:
    """types and seeds below data and ops, these below models, these below training, metrics and sampling."""
    level = {"atomic": 0, "errors": 0, "seeding": 1, "times": 1, "types": 1, "data": 2, "ops": 2, "models": 3}
    level |= {"metrics": 4, "training": 5, "checkpointing": 4, "sampling": 4, "published": 5}
    wrong = []
    for name, path in modules("digan"):
        mine = room(name)
        if not mine:
            continue
        assert mine in level, f"{name}: give this new room a level here"
        wrong += [
            f"{name} imports {other}"
            for other in imports(path)
            if room(other) and room(other) != mine and level[room(other)] >= level[mine]
        ]
    assert not wrong


def test_rooms_of_pipelines_import_downwards() -> None:
    wrong = []
    for name, path in modules("pipelines"):
        mine = room(name)
        if mine not in ROOMS:
            continue
        for other in imports(path):
            theirs = room(other)
            allowed = not other.startswith("pipelines") or theirs in {mine, "", *FOUNDATION, *ROOMS[mine]}
            if not allowed:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_nothing_imports_a_stage() -> None:
    """Stages are the top. But some read where a stage writes, and a trial is a training."""
    listed = {
        ("pipelines.summary", "pipelines.evaluate"),
        ("pipelines.summary", "pipelines.register"),
    }
    wrong = [
        (name, other)
        for name, path in modules("pipelines")
        for other in imports(path)
        if room(other) in TOP and (name, other) not in listed
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["pipelines.params", "pipelines.cli"])
def test_reading_params_loads_nothing_heavy(module: str) -> None:
    heavy = ["ray", "mlflow", "decord", "av", "boto3", "s3fs", "matplotlib", "scipy", "pandas", "webdataset"]
    code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
