"""dvc.yaml against the code: what a stage imports is what it lists, and its parameters exist."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
LINE: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
LISTING = LINE["listing"]  # runs every time, so that it lists no code
STAGES = {**LINE, **YAML(typ="safe", pure=True).load(ROOT / "pipelines/sweeps/dvc.yaml")["stages"]}

# Imported by stages but in no list, since no result depends on it; what it imports in turn is not followed.
NO_RESULT = {
    "digan.atomic": "how a file is written, not what is in it",
    "digan.errors": "messages",
    "digan.types": "containers and their assertions",
    "digan.generator_io": "the format of a generator's folder; a change there shows in the folder's own digest",
    "pipelines.cluster.dry_run": "trains nothing",
    "pipelines.exit_status": "messages and exit codes",
    "pipelines.log_setup": "messages with their level and rank",
    "pipelines.params_file": "reading and editing the text",
    "pipelines.params": "reading and checking; the values themselves are listed under params",
    "pipelines.video.video_writer": "encoding of pictures for people",
    "pipelines.training_run.training_log": "the log",
    "pipelines.report.progress_display": "the progress line",
    "pipelines.report.data_page": "a page for people",
    "pipelines.report.text_format": "numbers as text",
    "pipelines.cluster.worker_group": "how Ray Train is called",
    "pipelines.training_run.worker_messages": "messages from workers to the driver",
    "pipelines.training_run.checkpoint_store": "where checkpoints lie",
    "pipelines.cluster.preflight": "refusals before the start",
    "pipelines.training_run.run_sync": "where the books lie",
    "pipelines.cluster.ray_cluster": "where the workers run",
    "pipelines.training_run.run_fingerprint": "whether a run goes on",
    "pipelines.training_run.provenance": "tags",
    "pipelines.cluster.ray_tasks": "where the chunks are made",
    "pipelines.tracking.runs": "MLflow",
    "pipelines.tracking.store": "MLflow",
    "pipelines.cluster.system_metrics": "figures of the machine",
}
TEMPLATES = ROOT / "pipelines/report/templates"  # read by report/page.py
CODE_CONFIGS = {"WorkerConfig"}  # made by code, not read from params.yaml
# Listed, but what they import is not followed.
NOT_FOLLOWED = {"pipelines.registry.pyfunc_model": "runs where a registered model is asked, not in the stage"}


def path_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(path: Path) -> set[str]:
    """First-party modules whose code a file uses, imported anywhere in it.

    Imports under TYPE_CHECKING do not count, nor those of configurations alone: their values are listed under params.
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
    """The files that running a module depends on, those without code left out."""
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


def test_line_is_whole() -> None:
    assert list(LINE) == ["listing", "ingest", "reference", "train", "evaluate", "register"]


def test_a_sweep_runs_only_when_asked_for() -> None:
    """`dvc repro` runs the stages of dvc.yaml; a frozen stage there would make it fail where the outputs are missing."""
    assert set(STAGES) - set(LINE) == {"tune"} and STAGES["tune"]["wdir"] == "../.."
    assert not any(content.get("frozen") for content in STAGES.values())


def test_dvc_asks_for_nothing_of_a_sweep_that_has_not_run() -> None:
    """`dvc exp apply`, `checkout` and `pull` fail where a cached output has never been made."""
    tune = STAGES["tune"]
    assert "plots" not in tune
    assert all(next(iter(entry.values()))["cache"] is False for entry in [*tune["outs"], *tune["metrics"]])


CODED = [stage for stage in STAGES if stage != "listing"]


@pytest.mark.parametrize("stage", CODED)
def test_lists_all_code_that_it_imports(stage: str) -> None:
    listed = code_of(stage)
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(closure(f"pipelines.{stage}"))
        if not any(path == dep or dep in path.parents for dep in listed)
    ]
    assert not missing, f"add these to the deps of {stage} in dvc.yaml, or to NO_RESULT here with the reason"


@pytest.mark.parametrize("stage", CODED)
def test_lists_no_code_that_it_does_not_import(stage: str) -> None:
    used = closure(f"pipelines.{stage}")
    idle = [
        dep.relative_to(ROOT).as_posix()
        for dep in code_of(stage)
        if dep != TEMPLATES and not any(path == dep or dep in path.parents for path in used)
    ]
    assert not idle


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_exist(stage: str) -> None:
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for dotted in STAGES[stage]["params"]:
        section, _, key = dotted.partition(".")
        assert section in values and (not key or key in values[section]), dotted


def test_data_flows_from_stage_to_stage() -> None:
    """Every data dependency is, or lies in, something that an earlier stage makes."""
    made: list[str] = []
    for stage, content in STAGES.items():
        for dep in content.get("deps", []):
            if not dep.startswith(("digan", "pipelines")):
                assert any(dep == out or dep.startswith(f"{out}/") for out in made), f"{stage}: nothing makes {dep}"
        made += names_of(content.get("outs", [])) + names_of(content.get("metrics", []))
        made += names_of(content.get("plots", []))


def test_the_listing_is_made_every_time_and_ingest_follows_it() -> None:
    assert LISTING["always_changed"] and "deps" not in LISTING
    assert "outputs/listing.json" in LINE["ingest"]["deps"]


def test_long_stages_go_on_where_they_stopped() -> None:
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
def test_a_changed_parameter_starts_just_these(key: str, stages: set[str]) -> None:
    def concerns(stage: str) -> bool:
        return any(key == named or key.startswith(f"{named}.") for named in STAGES[stage]["params"])

    assert {stage for stage in STAGES if concerns(stage)} - {"tune"} == stages


def test_evaluation_starts_no_training() -> None:
    assert not any(dep.startswith("digan/metrics") for dep in STAGES["train"]["deps"])
    assert "pipelines/detectors.py" not in STAGES["train"]["deps"]


def test_dvc_asks_nobody() -> None:
    config = (ROOT / ".dvc" / "config").read_text()
    for line in ("analytics = false", "check_update = false", "autostage = true"):
        assert line in config
