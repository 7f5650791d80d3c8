"""Moves modules and renames what they define, through code, tests, benchmarks, configuration and documents, as table.py says.

    pip install libcst==1.9.0          # in an environment of its own
    python .ci/rename/rename.py        # in a clean checkout of the commit before; then: ruff check --fix, ruff format

Names are resolved by scope and import, not by spelling, so a class is renamed where it is that class and nowhere else. What cannot be
resolved without types (attributes, keyword arguments, parameters) is renamed by spelling in the files that the table names.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import libcst as cst
import libcst.metadata as meta

sys.path.insert(0, str(Path(__file__).parent))
import table

ROOT = Path(__file__).resolve().parents[2]
CODE = ("digan", "pipelines", "tests", "benchmarks")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))}


@cache
def exports(module: str) -> tuple[frozenset[str], dict[str, str]]:
    """The names that a module defines, and the names that it imports with what they are called where they come from."""
    defined: set[str] = set()
    imported: dict[str, str] = {}
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
    for node in ast.parse(FILES[module].read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return frozenset(defined), imported


def canonical(name: str) -> str:
    """``module:name`` for a qualified name, where it is defined; the module itself for a module."""
    if name in FILES:
        return name
    module, _, rest = name.rpartition(".")
    while module and module not in FILES:
        module, _, last = module.rpartition(".")
        rest = f"{last}.{rest}"
    if not module:
        return name
    first, _, more = rest.partition(".")
    defined, imported = exports(module)
    if first not in defined and first in imported:
        return canonical(f"{imported[first]}.{more}".rstrip("."))
    return f"{module}:{rest}"


def new_module(name: str) -> str:
    return table.MODULES.get(name, name)


def matches(path: Path, globs: Iterable[str]) -> bool:
    relative = path.relative_to(ROOT).as_posix()
    if any(glob.startswith("!") and fnmatch.fnmatch(relative, glob[1:]) for glob in globs):
        return False
    return any(fnmatch.fnmatch(relative, glob) for glob in globs)


class Renamer(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (meta.QualifiedNameProvider, meta.ParentNodeProvider)

    def __init__(self, module: str, path: Path) -> None:
        super().__init__()
        self.module = module
        self.by_spelling = {old: new for old, new, globs in table.SPELLED if matches(path, globs)}

    def _new_name(self, node: cst.CSTNode, current: str) -> str | None:
        for found in self.get_metadata(meta.QualifiedNameProvider, node, set()):
            name = found.name
            if found.source is meta.QualifiedNameSource.LOCAL:
                if "<locals>" in name:
                    continue
                name = f"{self.module}.{name}"
            elif found.source is not meta.QualifiedNameSource.IMPORT:
                continue
            where = canonical(name)
            if where in FILES:
                if where in table.MODULES and where.rpartition(".")[2] == current:
                    return table.MODULES[where].rpartition(".")[2]
                continue
            if where in table.SYMBOLS and where.rpartition(":")[2].rpartition(".")[2] == current:
                return table.SYMBOLS[where]
        return None

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        parent = self.get_metadata(meta.ParentNodeProvider, original_node)
        if isinstance(parent, cst.AsName):
            parent = self.get_metadata(meta.ParentNodeProvider, parent)
        if isinstance(parent, cst.ImportAlias):
            return updated_node
        current = original_node.value
        if isinstance(parent, cst.Attribute) and parent.attr is original_node:
            new = self._new_name(parent, current)
        elif (isinstance(parent, cst.Arg) and parent.keyword is original_node) or (
            isinstance(parent, cst.Param) and parent.name is original_node
        ):
            new = None
        else:
            new = self._new_name(original_node, current)
        if new is None:
            new = self.by_spelling.get(current)
        return updated_node.with_changes(value=new) if new else updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        (statement, *more) = updated_node.body
        if more or not isinstance(statement, cst.ImportFrom) or isinstance(statement.names, cst.ImportStar):
            return updated_node
        assert statement.module is not None
        source = cst.Module([]).code_for_node(statement.module)
        if source.partition(".")[0] not in CODE:
            return updated_node
        groups: dict[str, list[cst.ImportAlias]] = defaultdict(list)
        for alias in statement.names:
            name = alias.name.value
            whole = f"{source}.{name}"
            if whole in FILES:
                target, _, new = new_module(whole).rpartition(".")
            else:
                target, new = new_module(source), table.SYMBOLS.get(canonical(whole), name)
            groups[target].append(cst.ImportAlias(cst.Name(new), alias.asname))
        lines = [
            updated_node.with_changes(
                body=[
                    cst.ImportFrom(
                        module=cst.parse_expression(target), names=names, lpar=cst.LeftParen(), rpar=cst.RightParen()
                    )
                ],
                leading_lines=updated_node.leading_lines if number == 0 else (),
            )
            for number, (target, names) in enumerate(groups.items())
        ]
        return cst.FlattenSentinel(lines)


def _path(old: str) -> str:
    return table.MODULES[old.replace("/", ".")].replace(".", "/")


def replaced_text(text: str, path: Path) -> str:
    """Paths and dotted names of moved modules in strings, comments and documents, and the table's patterns."""
    olds = "|".join(re.escape(old) for old in sorted(table.MODULES.keys() - table.NOT_IN_TEXT, key=len, reverse=True))
    text = re.sub(rf"(?<![\w./-])({olds})(?![\w/-])", lambda found: table.MODULES[found[1]], text)
    paths = olds.replace("\\.", "/")
    text = re.sub(rf"(?<![\w-])({paths})\.py\b", lambda found: f"{_path(found[1])}.py", text)
    for pattern, new, globs in table.TEXTS:
        if matches(path, globs) and not matches(path, table.KEEP_OLD_NAMES):
            text = re.sub(pattern, new, text, flags=re.MULTILINE)
    return text


def _deeper(code: str, module: str) -> str:
    """Paths that start from ``__file__`` in a module that moves deeper into the tree."""
    by = new_module(module).count(".") - module.count(".")
    start = r"(__file__\)(?:\.resolve\(\))?)"
    if by:
        code = re.sub(start + r"\.parent\b(?!s)", r"\1.parents[0]", code)
        code = re.sub(start + r"\.parents\[(\d)\]", lambda m: f"{m[1]}.parents[{int(m[2]) + by}]", code)
    return code


def move(old: str, new: str) -> None:
    source = FILES[old]
    target = ROOT.joinpath(*new.split(".")).with_suffix(".py")
    if source.name == "__init__.py":
        target = ROOT.joinpath(*new.split("."), "__init__.py")
    target.parent.mkdir(parents=True, exist_ok=True)
    for parent in target.parents:
        if parent == ROOT:
            break
        if not (parent / "__init__.py").exists():
            (parent / "__init__.py").touch()
            subprocess.run(["git", "-C", str(ROOT), "add", str(parent / "__init__.py")], check=True)
    subprocess.run(["git", "-C", str(ROOT), "mv", str(source), str(target)], check=True)


def drop_unknown() -> None:
    """Leave out what this tree does not have, by name."""
    unknown = [name for name in table.MODULES if name not in FILES]
    for where in table.SYMBOLS:
        module, _, name = where.partition(":")
        if module not in FILES or ("." not in name and name not in exports(module)[0]):
            unknown.append(where)
    for name in unknown:
        print(f"not in this tree: {name}", file=sys.stderr)
    for name in unknown:
        table.MODULES.pop(name, None)
        table.SYMBOLS.pop(name, None)


def main() -> None:
    drop_unknown()
    results: dict[Path, str] = {}
    for module, path in FILES.items():
        renamer = Renamer(module, path)
        tree = meta.MetadataWrapper(cst.parse_module(path.read_text())).visit(renamer)
        results[path] = replaced_text(_deeper(tree.code, module), path)
    for pattern in table.DOCUMENTS:
        for path in filter(Path.is_file, sorted(ROOT.glob(pattern))):
            results[path] = replaced_text(path.read_text(), path)
    for path, text in results.items():
        if text != path.read_text():
            path.write_text(text)
    for old, new in table.MODULES.items():
        move(old, new)
    for folder in (ROOT / "tests").rglob("*"):
        if folder.is_dir() and any(folder.glob("test_*.py")) and not (folder / "__init__.py").exists():
            (folder / "__init__.py").touch()


if __name__ == "__main__":
    main()
