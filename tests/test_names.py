"""Class names are unique in the project and differ from those of typing, torch, Ray and MLflow."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

from tests.bounds import modules

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *("typing", "torch", "torch.nn", "torch.optim", "torch.utils.data", "torch.distributed", "torch.autograd"),
    *("ray", "ray.train", "ray.train.torch", "ray.tune", "ray.tune.schedulers", "ray.tune.search", "ray.util"),
    *("mlflow", "mlflow.entities", "mlflow.models", "mlflow.pyfunc", "mlflow.tracking"),
)

EXCEPTIONS = {
    "EvaluationResult"
}  # the usual term; MLflow's class belongs to mlflow.evaluate, which this project does not use


def project_classes() -> dict[str, list[str]]:
    """Return the modules of digan/ and pipelines/ that define each top-level class, by class name."""
    found: dict[str, list[str]] = {}
    for module, path in modules(ROOT, ("digan", "pipelines")).items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name.lstrip("_"), []).append(module)
    return found


def library_classes() -> dict[str, str]:
    """Return the library module of each class, by class name."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        for attribute, value in vars(importlib.import_module(name)).items():
            if (inspect.isclass(value) or name == "typing") and attribute[:1].isupper():
                found.setdefault(attribute, name)
    return found


def test_class_names_are_unique() -> None:
    assert {name: where for name, where in project_classes().items() if len(where) > 1} == {}


def test_class_names_differ_from_library_classes() -> None:
    libraries = library_classes()
    found = {name: libraries[name] for name in project_classes() if name in libraries and name not in EXCEPTIONS}
    assert found == {}


def test_exceptions_end_in_error() -> None:
    wrong = []
    for module, path in modules(ROOT, ("digan", "pipelines")).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.endswith("Error"):
                bases = {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
                if any(base == "Exception" or base.endswith("Error") for base in bases):
                    wrong.append(f"{module}.{node.name}")
    assert wrong == []
