"""dvc.yaml lists the code that each stage imports, and parameters that exist."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
LINE: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
LISTING = LINE["listing"]  # always runs and lists no code
STAGES = {**LINE, **YAML(typ="safe", pure=True).load(ROOT / "pipelines/sweeps/dvc.yaml")["stages"]}

# Imported by stages but not listed, since no result depends on it; imports of these modules are not followed.
NO_RESULT = {
    "digan.atomic": "how a file is written, not what is in it",
    "digan.errors": "messages",
    "digan.redaction": "error messages",
    "digan.class_names": "a copy of the names in the shards' index",
    "digan.types": "containers and their assertions",
    "digan.generator_io": "the format of a generator's folder; a change there shows in the folder's own digest",
    "pipelines.cluster.dry_run": "trains nothing",
    "pipelines.dataset.class_coverage": "notes for people, in the report and elsewhere",
    "pipelines.sources.made_with": "refuses shards that were made otherwise",
    "pipelines.exit_status": "messages and exit codes",
    "pipelines.arguments": "arguments, of which the stages take none under DVC",
    "pipelines.log_setup": "messages with their level and rank",
    "pipelines.params_file": "reading and editing the text",
    "pipelines.params": "reading and checking; the values themselves are listed under params",
    "pipelines.video.video_writer": "encoding of videos and images for display",
    "pipelines.training_run.training_log": "the log",
    "pipelines.report.progress_display": "the progress line",
    "pipelines.report.data_page": "a page for people",
    "pipelines.report.text_format": "numbers as text",
    "pipelines.training_run.worker_messages": "messages from workers to the driver",
    "pipelines.training_run.checkpoint_store": "where checkpoints are stored",
    "pipelines.cluster.preflight": "checks before the start",
    "pipelines.training_run.run_sync": "where the run is copied to",
    "pipelines.cluster.worker_failure": "which errors end a training",
    "pipelines.cluster.ray_cluster": "where the workers run",
    "pipelines.training_run.run_start": "where the weights are kept that a run begins with",
    "pipelines.registry.start_address": "reads the weights that training.start_from names",
    "pipelines.training_run.run_fingerprint": "whether a run resumes",
    "pipelines.training_run.provenance": "tags",
    "pipelines.cluster.ray_tasks": "where tasks run",
    "pipelines.tracking.run_contents": "MLflow",
    "pipelines.tracking.runs": "MLflow",
    "pipelines.tracking.store": "MLflow",
    "pipelines.cluster.system_metrics": "system metrics",
}
TEMPLATES = (ROOT / "pipelines/report/templates", ROOT / "pipelines/registry/model_card.md")  # read as text
CODE_CONFIGS = {"WorkerConfig"}  # created by code, not read from params.yaml
# Listed, but what they import is not followed.
NOT_FOLLOWED = {"pipelines.registry.pyfunc_model": "runs where a registered model is used, not in the stage"}


def path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(path: Path) -> set[str]:
    """Project modules that a file imports anywhere.

    Imports under TYPE_CHECKING and of configurations only do not count: their values are listed under params.
    """
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not all(
            alias.name.endswith("Config") and alias.name not in CODE_CONFIGS for alias in node.names
        ):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if path_of(name) else str(node.module) for name in whole}
    return {name for name in found if name.partition(".")[0] in ("digan", "pipelines") and path_of(name)}


def closure(module: str) -> set[Path]:
    """Non-empty files that a module depends on."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = path_of(name)
        if name in seen or name in NO_RESULT or path is None:
            continue
        seen.add(name)
        waiting += [] if name in NOT_FOLLOWED else imported(path)
    paths = {path for name in seen if (path := path_of(name)) is not None}
    return {path for path in paths if path.stat().st_size > 0}


def code_of(stage: str) -> list[Path]:
    return [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith(("digan", "pipelines"))]


def names_of(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_all_stages_exist() -> None:
    assert list(LINE) == ["listing", "ingest", "reference", "train", "evaluate", "register"]


def test_sweep_is_not_part_of_dvc_repro() -> None:
    """`dvc repro` runs all stages of dvc.yaml; with a frozen stage it would fail if the outputs are missing."""
    assert set(STAGES) - set(LINE) == {"tune"} and STAGES["tune"]["wdir"] == "../.."
    assert not any(content.get("frozen") for content in STAGES.values())


def test_outputs_of_the_sweep_are_not_cached() -> None:
    """`dvc exp apply`, `checkout` and `pull` fail if a cached output has never been created."""
    tune = STAGES["tune"]
    assert "plots" not in tune
    assert all(next(iter(entry.values()))["cache"] is False for entry in [*tune["outs"], *tune["metrics"]])


CODED = [stage for stage in STAGES if stage != "listing"]


@pytest.mark.parametrize("stage", CODED)
def test_stage_lists_all_imported_code(stage: str) -> None:
    listed = code_of(stage)
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(closure(f"pipelines.{stage}"))
        if not any(path == dep or dep in path.parents for dep in listed)
    ]
    assert not missing, f"add these to the deps of {stage} in dvc.yaml, or to NO_RESULT here with the reason"


@pytest.mark.parametrize("stage", CODED)
def test_stage_lists_only_imported_code(stage: str) -> None:
    used = closure(f"pipelines.{stage}")
    idle = [
        dep.relative_to(ROOT).as_posix()
        for dep in code_of(stage)
        if dep not in TEMPLATES and not any(path == dep or dep in path.parents for path in used)
    ]
    assert not idle


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_exist(stage: str) -> None:
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for dotted in STAGES[stage]["params"]:
        section, _, key = dotted.partition(".")
        assert section in values and (not key or key in values[section]), dotted


def test_data_dependencies_are_outputs_of_earlier_stages() -> None:
    """Every data dependency is an output of an earlier stage, or in one."""
    made: list[str] = []
    for stage, content in STAGES.items():
        for dep in content.get("deps", []):
            if not dep.startswith(("digan", "pipelines")):
                assert any(dep == out or dep.startswith(f"{out}/") for out in made), f"{stage}: no stage writes {dep}"
        made += names_of(content.get("outs", [])) + names_of(content.get("metrics", []))
        made += names_of(content.get("plots", []))


def test_listing_always_runs_and_ingest_depends_on_it() -> None:
    assert LISTING["always_changed"] and "deps" not in LISTING
    assert "outputs/listing.json" in LINE["ingest"]["deps"]


def test_outputs_of_long_stages_persist() -> None:
    for stage, out in (("ingest", "outputs/shards"), ("reference", "outputs/reference"), ("train", "outputs/train")):
        assert {out: {"persist": True}} in STAGES[stage]["outs"]


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("source.toy.seed", {"listing", "ingest"}),
        ("training.r1_gamma", {"train"}),
        ("evaluation.truncation", {"evaluate"}),
        ("evaluation.videos", {"reference", "evaluate"}),
        ("evaluation.batch_size", set()),
        ("cluster.address", set()),
        ("tracking.uri", set()),
        ("registry.model", {"register"}),
    ],
)
def test_changed_parameter_runs_only_these_stages(key: str, stages: set[str]) -> None:
    def concerns(stage: str) -> bool:
        return any(key == named or key.startswith(f"{named}.") for named in STAGES[stage]["params"])

    assert {stage for stage in STAGES if concerns(stage)} - {"tune"} == stages


def test_evaluation_code_does_not_affect_training() -> None:
    assert not any(dep.startswith("digan/metrics") for dep in STAGES["train"]["deps"])
    assert "pipelines/detectors.py" not in STAGES["train"]["deps"]


def test_dvc_does_not_call_home() -> None:
    config = (ROOT / ".dvc" / "config").read_text()
    for line in ("analytics = false", "check_update = false", "autostage = true"):
        assert line in config
