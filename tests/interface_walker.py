"""Finds uses of private interfaces of other packages in the syntax trees of source files.

Names are followed through imports, assignments and annotations within a function; what a name of unknown origin holds is
not known, so a private attribute of it counts as ours if our code defines an attribute of that name.
"""

from __future__ import annotations

import ast
from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path

from tests.interface_names import (
    DOCUMENTED,
    SELVES,
    called,
    foreign_classes,
    is_foreign,
    is_installed_package,
    is_private,
    literal,
    own_names,
    root_name,
    targets_of,
)

PRIVATE, OVERRIDDEN, BY_NAME = "private name", "overridden private name", "class recognized by its name"
ASSIGNED, TEXT = "assigned attribute", "error recognized by its text"

SETTINGS = ("torch.backends.", "av.", "selenium.", "ruamel.yaml.YAML()")
"""What their packages document as settings to assign (PyAV: streams; selenium: options; ruamel: a YAML object)."""

TENSOR_SETTINGS = frozenset(("grad", "data", "requires_grad"))
ATTRIBUTE_CALLS = frozenset(("getattr", "setattr", "delattr", "hasattr", "attrgetter", "object"))
PATH_CALLS = frozenset(("setattr", "delattr", "import_module", "find_spec", "patch", "__import__"))
IMPORTING_CALLS = frozenset(("import_module", "importorskip"))
ASSIGNING_CALLS = frozenset(("setattr", "delattr"))
TEXT_METHODS = frozenset(("startswith", "endswith", "find", "index", "count"))
PATTERN_CALLS = frozenset(("search", "match", "fullmatch", "findall", "finditer"))


@dataclass(frozen=True, order=True)
class Finding:
    """One use: where, which kind, and the name or expression."""

    path: str
    line: int
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.what}"


class Walker(ast.NodeVisitor):
    """Collects the findings of one file in ``found``."""

    def __init__(self, path: str, own: set[str], *, error_texts: bool = True) -> None:
        self.path, self.own, self.error_texts = path, own, error_texts
        self.found: list[Finding] = []
        self.modules: ChainMap[str, str] = ChainMap()  # names of modules, classes and functions, dotted
        self.objects: ChainMap[str, str] = ChainMap()  # names of what calls returned or annotations say
        self.errors: ChainMap[str, str] = ChainMap()  # names of errors and of their texts: "error" | "text"
        self.attributes: dict[str, str] = {}  # what the attributes of ``self`` hold, in the present class

    def add(self, node: ast.AST, kind: str, what: str) -> None:
        self.found.append(Finding(self.path, getattr(node, "lineno", 0), kind, what))

    def origin(self, node: ast.expr) -> str:
        """The dotted name behind an expression, as far as it is known; ``pkg.f()`` is ``pkg.f()``."""
        if isinstance(node, ast.Name):
            return self.modules.get(node.id) or self.objects.get(node.id, "")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in SELVES:
            return self.attributes.get(node.attr, "")
        if isinstance(node, ast.Attribute):
            return f"{inner}.{node.attr}" if (inner := self.origin(node.value)) else ""
        if isinstance(node, ast.Call):
            if called(node) in IMPORTING_CALLS and node.args:
                return literal(node.args[0])
            return f"{inner}()" if (inner := self.origin(node.func)) else ""
        if isinstance(node, ast.Subscript | ast.Await):
            return self.origin(node.value)
        return ""

    # Scopes and what names hold

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.modules, self.objects, self.errors = (
            scope.new_child() for scope in (self.modules, self.objects, self.errors)
        )
        for each in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            if each.annotation is not None:
                self.annotated(each.arg, each.annotation)
        self.generic_visit(node)
        self.modules, self.objects, self.errors = (scope.parents for scope in (self.modules, self.objects, self.errors))

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def annotated(self, name: str, annotation: ast.expr) -> None:
        self.objects[name] = self.origin(annotation)
        self.modules[name] = ""
        if any(part.id.endswith(("Error", "Exception")) for part in ast.walk(annotation) if isinstance(part, ast.Name)):
            self.errors[name] = "error"

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.modules[alias.asname or top] = alias.name if alias.asname else top
            self.check_path(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            self.check_path(node, f"{node.module}.{alias.name}")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.errors[node.name] = "error"
        self.generic_visit(node)

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        if value is None:
            return
        origin = self.origin(value)
        if isinstance(target, ast.Attribute) and root_name(target) in SELVES:
            self.attributes[target.attr] = origin
        if not isinstance(target, ast.Name):
            return
        is_object = isinstance(value, ast.Call) and called(value) not in IMPORTING_CALLS
        self.modules[target.id] = "" if is_object else origin
        self.objects[target.id] = origin if is_object else ""
        self.errors[target.id] = "text" if self.is_text(value) else ""

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self.bind(item.optional_vars, item.context_expr)
        self.generic_visit(node)

    # Assignments

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.bind(target, node.value)
            for each in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
                self.check_assigned(each)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.bind(node.target, node.value)
        self.check_assigned(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        self.check_assigned(node.target)

    def visit_Delete(self, node: ast.Delete) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.check_assigned(target)

    def check_assigned(self, target: ast.expr) -> None:
        """An attribute of another package's module, class or object, unless it is documented as a setting."""
        if isinstance(target, ast.Attribute) and is_installed_package(owner := self.origin(target.value)):
            documented = owner.startswith(SETTINGS) or target.attr in TENSOR_SETTINGS
            if not documented:
                self.add(target, ASSIGNED, f"{owner}.{target.attr}")

    # Private names

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self.check_attribute(node, node.value, node.attr)

    def check_attribute(self, node: ast.AST, owner: ast.expr, name: str) -> None:
        if not is_private(name) or name in DOCUMENTED:
            return
        origin = self.origin(owner)
        if is_foreign(origin) or name not in self.own:
            self.add(node, PRIVATE, f"{origin or ast.unparse(owner)}.{name}")

    def check_path(self, node: ast.AST, dotted: str) -> None:
        parts = dotted.split(".")
        if is_foreign(dotted) and any(is_private(part) and part not in DOCUMENTED for part in parts):
            self.add(node, PRIVATE, dotted)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name, arguments = called(node), node.args
        if name in PATH_CALLS and arguments and "." in (dotted := literal(arguments[0])):
            self.check_path(node, dotted)
            if name in ASSIGNING_CALLS | {"patch"} and is_installed_package(dotted):
                self.add(node, ASSIGNED, dotted)
        if name in ATTRIBUTE_CALLS and len(arguments) > 1:
            self.check_attribute(node, arguments[0], literal(arguments[1]))
            if name in ASSIGNING_CALLS:
                attribute = ast.Attribute(value=arguments[0], attr=literal(arguments[1]) or "?", ctx=ast.Store())
                self.check_assigned(ast.copy_location(attribute, node))
        self.check_text_call(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self.attributes = self.attributes, {}
        self.generic_visit(node)
        self.attributes = outer
        names = {getattr(each, "name", "") for each in node.body}
        names |= {t.id for each in node.body for t in targets_of(each) if isinstance(t, ast.Name)}
        for base in node.bases:
            for owner in foreign_classes(self.origin(base)):
                for name in sorted(names & vars(owner).keys()):
                    if is_private(name):
                        self.add(node, OVERRIDDEN, f"{owner.__module__}.{owner.__qualname__}.{name}")

    # Names and texts as strings

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        for side in [node.left, *node.comparators]:
            self.check_text(node, side)

    def visit_Match(self, node: ast.Match) -> None:
        self.generic_visit(node)
        self.check_text(node, node.subject)

    def check_text_call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and called(node) in TEXT_METHODS:
            self.check_text(node, node.func.value)
        if called(node) in PATTERN_CALLS:
            for argument in node.args:
                self.check_text(node, argument)

    def check_text(self, node: ast.AST, side: ast.expr) -> None:
        inner = list(ast.walk(side))
        if any(isinstance(each, ast.Attribute) and each.attr in ("__name__", "__qualname__") for each in inner):
            self.add(node, BY_NAME, ast.unparse(side))
        if self.error_texts and self.is_text(side):
            self.add(node, TEXT, ast.unparse(side))

    def is_text(self, node: ast.expr) -> bool:
        """Whether an expression is the text of an error or made of it: ``str(error).lower()``, ``f"{error}"``."""
        if isinstance(node, ast.Name):
            return self.errors.get(node.id) == "text"
        if isinstance(node, ast.Call) and called(node) in ("str", "repr", "format", "join"):
            return any(self.is_error(each) or self.is_text(each) for each in node.args)
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Attribute) and self.is_text(node.func.value)
        if isinstance(node, ast.Attribute):
            return node.attr == "args" and self.is_error(node.value)
        if isinstance(node, ast.Subscript):
            return self.is_text(node.value)
        if isinstance(node, ast.FormattedValue):
            return self.is_error(node.value) or self.is_text(node.value)
        parts: list[ast.expr] = getattr(node, "values", [])  # of f-strings and of "or"
        if isinstance(node, ast.IfExp):
            parts = [node.body, node.orelse]
        return any(self.is_text(each) for each in parts)

    def is_error(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and self.errors.get(node.id) == "error"


def findings(paths: list[Path], root: Path) -> list[Finding]:
    """All findings of these files; texts of errors are left to tests, which check our own messages."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    own = own_names(list(trees.values()))
    found: list[Finding] = []
    for path, tree in trees.items():
        name = path.relative_to(root).as_posix()
        walker = Walker(name, own, error_texts=not name.startswith("tests/"))
        walker.visit(tree)
        found += walker.found
    return sorted(set(found))
