"""The documents against the code: commands are run by a test or say what they need, they parse, and paths exist."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("make", "dvc", "python", "digan", "mlflow", "ray", "pytest")

# A command that matches is run by this test (everyday, slow or cluster), or needs what follows "needs:".
COVERED = {
    r"make (install|test|lint)$": ".ci/run",
    r"make same": "tests/test_same.py::test_changed_missing_and_new_digests_are_named",
    r"make (demo|showcase|test-all|test-cluster|test-gpu|format|test-oldest|test-newest)$": "needs: minutes to an hour; the target exists",
    r"dvc repro": "tests/pipelines/test_dvc.py::test_stage_lists_all_imported_code",
    r"dvc exp run": "tests/pipelines/test_dvc.py::test_stage_lists_all_imported_code",
    r"dvc (push|pull|remote)": "tests/pipelines/dataset/test_s3_storage.py::test_dvc_pushes_and_pulls_to_the_store",
    r"dvc (exp (show|apply)|queue|metrics|plots|checkout)": "needs: a repository in which experiments have run",
    r"python -m pipelines\.(ingest|listing)": "tests/pipelines/dataset/test_ingest.py",
    r"python -m pipelines\.reference": "tests/pipelines/evaluation/test_evaluate.py",
    r"python -m pipelines\.(evaluate|register|STAGE)": "tests/pipelines/evaluation/test_evaluate.py",
    r"python -m pipelines\.train --dry-run": "tests/pipelines/cli/test_preset.py::test_dry_run_shows_sizes_and_time",
    r"python -m pipelines\.train": "tests/pipelines/cluster/test_train.py",
    r"python -m pipelines\.tune": "tests/pipelines/sweeps/test_sweep_on_ray.py",
    r"python -m benchmarks\.": "tests/benchmarks/test_smallest.py::test_runs_to_its_end",
    r"python -m tests\.": "tests/test_same.py",
    r"digan sample": "tests/pipelines/cli/test_main.py",
    r"digan info": "tests/pipelines/cli/test_main.py",
    r"digan init": "tests/pipelines/cli/test_init.py",
    r"digan preset": "tests/pipelines/cli/test_preset.py",
    r"digan evaluate": "tests/pipelines/evaluation/test_video_folder.py",
    r"digan sweep": "tests/pipelines/sweeps/test_sweep.py",
    r"digan (--help|my_verb|VERB)": "tests/pipelines/cli/test_main.py",
    r"mlflow": "needs: a store with runs",
    r"ray (start|job)": "tests/cluster/test_hosts.py",
    r"pytest": "needs: minutes; the test exists",
}


def commands() -> Iterator[tuple[str, str]]:
    """(document, command) for every command line of a fenced block and every command between backticks."""
    for path in DOCUMENTS:
        text = path.read_text()
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for line in [*lines, *spans]:
            command = re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip()
            command = re.sub(r"^(\w+=\S+ )+", "", command).removeprefix(".venv/bin/")
            if re.match(rf"({'|'.join(PROGRAMS)}) [^=:(]", command) and "..." not in command.split()[:2]:
                yield path.relative_to(ROOT).as_posix(), command


FOUND = sorted(set(commands()))


def test_commands_are_found() -> None:
    assert len(FOUND) > 60
    assert ("README.md", "make demo") in FOUND


@pytest.mark.parametrize(("document", "command"), FOUND)
def test_command_is_covered_and_parses(document: str, command: str) -> None:
    covered = next((by for pattern, by in COVERED.items() if re.match(pattern, command)), None)
    assert covered, f"{document}: `{command}` is run by no test; name the test, or what it needs, in COVERED"
    if not covered.startswith("needs:"):
        path, _, name = covered.partition("::")
        assert (ROOT / path).is_file(), f"{covered}: no such test"
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{covered}: no such test"
    words = shlex.split(command.replace("[BASE=commit]", ""))
    {"make": check_make, "dvc": check_dvc, "python": check_python, "digan": check_digan, "pytest": check_pytest}.get(
        words[0], lambda words: None
    )(words)


def check_make(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}( [\w-]+)*:", (ROOT / "Makefile").read_text(), re.M), f"no make target {words[1]}"


def check_dvc(words: list[str]) -> None:
    yaml = YAML(typ="safe", pure=True)
    stages = yaml.load(ROOT / "dvc.yaml")["stages"]
    params: Any = yaml.load(ROOT / "params.yaml")
    for flag, setting in pairwise(words):
        if flag == "-S" and setting != "...":
            value = params
            for key in setting.partition("=")[0].split("."):
                assert key in value, f"params.yaml has no {setting}"
                value = value[key]
    if words[1] == "repro":
        for target in words[2:]:
            assert target in stages or target.startswith("-") or (ROOT / target).is_file(), f"no stage {target}"


def check_python(words: list[str]) -> None:
    assert words[1] == "-m", f"{words}: modules are run with -m"
    if words[2].endswith("STAGE"):
        return
    path = ROOT.joinpath(*words[2].split(".")).with_suffix(".py")
    assert path.is_file(), f"no module {words[2]}"
    for option in (word for word in words[3:] if word.startswith("--")):
        assert f'"{option}"' in path.read_text(), f"{words[2]} has no option {option}"


def check_digan(words: list[str]) -> None:
    from pipelines.cli import main

    bare_option = words[-1].startswith("--") and len(words) == 3  # an option that a sentence names
    if words[1] in ("--help", "my_verb", "VERB") or "..." in words or bare_option:
        return
    parser = main.parser()
    required = {"sample": ["--model", "x", "--out", "x.mp4"], "evaluate": ["--real", "x", "--fake", "y"]}
    missing = [] if len(words) > 3 else required.get(words[1], [])
    arguments = parser.parse_args([*words[1:2], *missing, *(["apply"] if words[1:] == ["sweep"] else []), *words[2:]])
    assert isinstance(arguments, argparse.Namespace)


def check_pytest(words: list[str]) -> None:
    for word in words[1:]:
        assert "/" not in word or (ROOT / word).exists(), f"no test {word}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        found = (path.parent / file).resolve() if file else path
        if not found.exists():
            broken.append(target)
        elif heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings]
            broken += [] if heading in slugs else [target]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_backticks_exist(path: Path) -> None:
    named = re.findall(r"`((?:digan|pipelines|tests|benchmarks|docs|infra)/[\w./-]+)`", path.read_text())
    invented = {"pipelines/sources/my_set.py"}  # templates of docs/extending.md
    assert [name for name in named if not (ROOT / name).exists() and name not in invented] == []


def test_documents_agree_on_the_time_of_the_demo() -> None:
    readme = re.search(r"^make demo +# .*: (.*) on two cores", (ROOT / "README.md").read_text(), re.M)
    makefile = re.search(r"^demo:.*\((.*) on two cores", (ROOT / "Makefile").read_text(), re.M)
    assert readme and makefile and readme[1] == makefile[1]
