"""Where a result comes from: the commit, the data, and one hash of everything that a stage of dvc.yaml depends on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def run_tags(stage: str, data_digest: str) -> dict[str, str]:
    """Tags of a run: git commit, data digest, the stage's hash and the name of the DVC experiment."""
    tags = {"data.digest": data_digest, "dvc.stage": stage, **git_tags()}
    optional = {"dvc.stage_hash": stage_hash(stage), "dvc.exp_name": experiment_name()}
    return tags | {name: value for name, value in optional.items() if value}


def experiment_name() -> str | None:
    """The name of the experiment under `dvc exp run`, which sets the variable; ``None`` elsewhere."""
    return os.environ.get("DVC_EXP_NAME") or None


def git_tags() -> dict[str, str]:
    """The commit, and whether tracked files differ from it (``git.dirty``); empty outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {"mlflow.source.git.commit": commit, "git.commit": commit, "git.dirty": str(dirty).lower()}


def stage_hash(stage: str) -> str | None:
    """SHA-256 of a stage in ./dvc.yaml: definition, parameters and dependencies; ``None`` if there is no such stage."""
    definition = _load_yaml("dvc.yaml").get("stages", {}).get(stage)
    if definition is None:
        return None
    parameters, names = _load_yaml("params.yaml"), [key for key in definition.get("params", []) if isinstance(key, str)]
    values = {name: _look_up(parameters, name) for name in names}
    deps = {dep: content_hash(Path(dep)) for dep in definition.get("deps", [])}
    content = {"stage": definition, "params": values, "deps": deps}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of a folder's names and contents (if it has an ``index.json``, of that alone); or ``missing``."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return "missing"
    if (path / "index.json").is_file():
        return content_hash(path / "index.json")
    total = hashlib.sha256()
    for each in sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        total.update(f"{each.relative_to(path).as_posix()}\0{content_hash(each)}\0".encode())
    return total.hexdigest()


def _load_yaml(name: str) -> dict[str, Any]:
    return (YAML(typ="safe", pure=True).load(Path(name)) or {}) if Path(name).is_file() else {}


def _look_up(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (FileNotFoundError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
