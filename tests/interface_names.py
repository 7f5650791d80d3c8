"""What names in source code refer to, for the walker of interface_walker.py."""

from __future__ import annotations

import ast
import importlib
import sys

OWN = ("digan", "pipelines", "tests", "benchmarks")
SELVES = ("self", "cls")

DOCUMENTED = frozenset(("_exit", "_getframe", "_current_frames", "_asdict", "_replace", "_fields", "_make"))
"""Names of os, sys and named tuples with an underscore that the standard library documents."""


def is_private(name: str) -> bool:
    """Whether a name has a leading underscore and is not a dunder."""
    return name.startswith("_") and name.strip("_") != "" and not (name.startswith("__") and name.endswith("__"))


def own_names(trees: list[ast.Module]) -> set[str]:
    """The private attributes, methods, functions and classes that our code defines."""
    found: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and root_name(node) in SELVES:
                found.add(node.attr)
            if isinstance(node, ast.ClassDef | ast.Module):
                targets = [t for each in node.body for t in targets_of(each)]
                found |= {name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)}
    return {name for name in found if is_private(name)}


def targets_of(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to or deletes."""
    if isinstance(node, ast.Assign | ast.Delete):
        return list(node.targets)
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def root_name(node: ast.expr) -> str:
    """The name that a chain of attributes, calls and subscripts begins with; empty if with anything else."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Await | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ""
    return node.id


def called(node: ast.Call) -> str:
    """The last part of the called name."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def literal(node: ast.expr | None) -> str:
    """The text of a literal string; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_foreign(dotted: str) -> bool:
    """Whether a dotted name is of a package that is not ours."""
    return dotted.partition(".")[0] not in ("", *OWN)


def is_installed_package(dotted: str) -> bool:
    """Whether a dotted name is of a package that is neither ours nor the standard library's."""
    return is_foreign(dotted) and dotted.partition(".")[0] not in sys.stdlib_module_names


def foreign_classes(dotted: str) -> list[type]:
    """The class of that dotted name and its bases, as far as they are other packages'."""
    module, _, name = dotted.rpartition(".")
    while module:
        try:
            found: object = importlib.import_module(module)
        except ImportError:
            module, _, outer = module.rpartition(".")
            name = f"{outer}.{name}"
            continue
        for part in name.split("."):
            found = getattr(found, part, None)
        return (
            [each for each in found.__mro__ if is_installed_package(each.__module__)] if isinstance(found, type) else []
        )
    return []
