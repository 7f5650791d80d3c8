"""Part of `make lint`: no file over 300 lines and no import cycles. `python -m tests.bounds`

Ruff holds the other bounds: complexity (C901) and parameters (PLR0913), see pyproject.toml.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("digan", "pipelines", "tests", "benchmarks")
MAX_LINES = 300


def modules(root: Path, folders: tuple[str, ...] = FOLDERS) -> dict[str, Path]:
    """Return all modules below ``folders`` by dotted name; a package has the path of its ``__init__.py``."""
    found = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of ``known`` that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
    return found & set(known)


def cycles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Return groups of modules that import each other, directly or indirectly (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1 or name in graph[name]:
                yield sorted(group)

    for name in sorted(graph):
        if name not in order:
            yield from visit(name)


def violations(root: Path) -> list[str]:
    """Return one line per violation."""
    known = modules(root)
    found = []
    for path in known.values():
        lines = len(path.read_text().splitlines())
        if lines > MAX_LINES:
            found.append(f"{path.relative_to(root)}: {lines} lines, at most {MAX_LINES}; split it by purpose")
    graph = {name: imports(path, known) - {name} for name, path in known.items()}
    found += [f"import cycle: {', '.join(group)}" for group in cycles(graph)]
    return found


def main() -> None:
    found = violations(ROOT)
    print("\n".join(found) if found else f"bounds: {len(modules(ROOT))} modules kept")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
