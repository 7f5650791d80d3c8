"""Print pip's constraints for one end of the ranges in pyproject.toml: `range_constraints.py oldest` or `newest`.

Ray, MLflow and webdataset are held at their floors, or left to pip, which takes the newest release in the range. The
other requirements of pyproject.toml are held at the versions in constraints.txt; what they require in turn is free,
since an old MLflow needs an old pandas.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
RANGED = ("ray", "mlflow", "webdataset")


def constraints(end: str) -> list[str]:
    """Lines `name==version`; ``end`` is ``oldest`` or ``newest``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["dev"]]
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
    versions = {name.lower(): version for name, version in pinned}
    lines = []
    for requirement in required:
        version = versions.get(requirement.name.lower())
        if requirement.name in RANGED:
            floors = [part.version for part in requirement.specifier if part.operator == ">="]
            version = floors[0] if end == "oldest" else None
        if version is not None:
            lines.append(f"{requirement.name}=={version}")
    return lines


if __name__ == "__main__":
    print("\n".join(constraints(sys.argv[1])))
