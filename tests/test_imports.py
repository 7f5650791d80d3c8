"""Import rules: digan/ needs only torch and numpy, and packages import only from lower layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bounds import imports, modules

ROOT = Path(__file__).resolve().parents[1]
KNOWN = modules(ROOT, ("digan", "pipelines"))

# Imports every module of digan/ while a finder blocks everything except torch, numpy and the standard library.
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

STAGES = {"listing", "ingest", "reference", "train", "evaluate", "register", "tune"}
# From top to bottom: a package or module of pipelines/ imports only from itself and from the rows below it.
LAYERS: list[set[str]] = [
    {"cli"},
    STAGES,
    {"params"},
    {"sweeps"},
    {"evaluation", "services"},  # services: former module of the loader of registered models
    {"registry", "own_videos"},
    {"cluster"},
    {"training_run"},
    {"tracking"},
    {"report"},
    {"detectors"},
    {"sources"},
    {"dataset"},
    {"video"},
    {"storage"},
    {"arguments"},
    {"params_file", "exit_status"},
    {"log_setup"},
]
DIGAN_LAYERS: list[set[str]] = [
    {"published"},
    {"training"},
    {"metrics", "generator_io", "sampling"},
    {"class_names"},
    {"models"},
    {"data", "ops"},
    {"seeding", "times", "types"},
    {"atomic", "system"},
    {"errors"},
    {"redaction"},
]


def package(module: str) -> str:
    """Return the package or module directly below digan or pipelines that contains a module."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def upward_imports(root: str, layers: list[set[str]]) -> list[str]:
    """Return imports of packages of the same or a higher layer."""
    level = {name: number for number, names in enumerate(layers) for name in names}
    wrong = []
    for name, path in KNOWN.items():
        if not name.startswith(f"{root}.") or not package(name):
            continue
        mine = package(name)
        assert mine in level, f"{name}: add the new package {mine} to the layers in this test"
        for other in imports(path, KNOWN):
            theirs = package(other)
            if other.startswith(f"{root}.") and theirs != mine and level[theirs] <= level[mine]:
                wrong.append(f"{name} imports {other}")
    return wrong


def test_digan_needs_only_torch_and_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10


def test_digan_never_imports_pipelines() -> None:
    assert [
        f"{name} imports {other}"
        for name, path in KNOWN.items()
        for other in imports(path, KNOWN)
        if name.startswith("digan") and other.startswith("pipelines")
    ] == []


@pytest.mark.parametrize(("root", "layers"), [("pipelines", LAYERS), ("digan", DIGAN_LAYERS)])
def test_imports_go_downwards_only(root: str, layers: list[set[str]]) -> None:
    assert upward_imports(root, layers) == []


def test_only_stages_and_cli_read_params() -> None:
    assert [
        name
        for name, path in KNOWN.items()
        if "pipelines.params" in imports(path, KNOWN) and package(name) not in STAGES | {"cli"}
    ] == []


def test_nothing_but_cli_imports_a_stage() -> None:
    assert [
        f"{name} imports {other}"
        for name, path in KNOWN.items()
        for other in imports(path, KNOWN)
        if other.startswith("pipelines.") and package(other) in STAGES and package(name) != "cli" and other != name
    ] == []


def test_module_names_are_unique() -> None:
    """Module names are unique, except ``config.py`` and a stage with its file in cli/."""
    seen: dict[str, str] = {}
    twice = []
    for name, path in KNOWN.items():
        if path.name in ("__init__.py", "config.py"):
            continue
        other = seen.setdefault(path.stem, name)
        stage_and_verb = path.stem in STAGES and {package(name), package(other)} == {path.stem, "cli"}
        if other != name and not stage_and_verb:
            twice.append(f"{name} and {other}")
    assert twice == []


@pytest.mark.parametrize("module", ["pipelines.params", "pipelines.cli.main"])
def test_reading_params_loads_nothing_heavy(module: str) -> None:
    heavy = ["ray", "mlflow", "decord", "av", "boto3", "s3fs", "matplotlib", "scipy", "pandas", "webdataset"]
    code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
