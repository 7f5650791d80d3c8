"""Where a result comes from: the commit, the data, and one hash of everything that a stage of dvc.yaml depends on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def run_tags(stage: str, data_digest: str, folder: Path | None = None) -> dict[str, str]:
    """Return the tags of a run: git commit, data digest, the stage's hash and the name of the DVC experiment."""
    root = folder or Path.cwd()
    tags = {"data.digest": data_digest, "dvc.stage": stage, **git_tags(root)}
    if digest := stage_hash(stage, root):
        tags["dvc.stage_hash"] = digest
    if name := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.exp_name"] = name
    return tags


def git_tags(folder: Path) -> dict[str, str]:
    """Return the commit and whether tracked files differ from it (``git.dirty``); empty outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {"mlflow.source.git.commit": commit, "git.commit": commit, "git.dirty": str(dirty).lower()}


def stage_hash(stage: str, folder: Path) -> str | None:
    """Return the SHA-256 of a stage's definition, the values of its parameters and the content of its dependencies.

    ``None`` if there is no dvc.yaml or no such stage in it.
    """
    definition = _load_yaml(folder / "dvc.yaml").get("stages", {}).get(stage)
    if definition is None:
        return None
    parameters = _load_yaml(folder / "params.yaml")
    content = {
        "stage": definition,
        "params": {key: _look_up(parameters, key) for key in definition.get("params", []) if isinstance(key, str)},
        "deps": {dep: content_hash(folder / dep) for dep in definition.get("deps", [])},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file or folder; ``missing`` if there is neither.

    A folder with an ``index.json`` counts by that index, which holds the SHA-256 of what it lists; any other folder
    counts by the names and contents of its files.
    """
    if path.is_file():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    if not path.is_dir():
        return "missing"
    if (path / "index.json").is_file():
        return content_hash(path / "index.json")
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        total.update(f"{file.relative_to(path).as_posix()}\0{content_hash(file)}\0".encode())
    return total.hexdigest()


def _load_yaml(path: Path) -> dict[str, Any]:
    return (YAML(typ="safe", pure=True).load(path) or {}) if path.is_file() else {}


def _look_up(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
