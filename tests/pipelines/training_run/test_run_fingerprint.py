"""When a launch resumes, replaces or keeps the run in its folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from digan.atomic import write_json
from pipelines.params import load
from pipelines.training_run import run_fingerprint
from tests.conftest import ROOT


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, run_fingerprint.RunFingerprint]:
    now = run_fingerprint.RunFingerprint(
        training={"clips": 100, "r1_gamma": 1.0, "checkpoints_kept": 3},
        model={"channel_max": 4, "drift": 0},
        data="d",
        code="c",
        workers=2,
    )
    (tmp_path / "generator").mkdir()
    for name in ("config.json", "weights.pt"):
        (tmp_path / "generator" / name).write_text(name)
    index = {
        "config": {"training": now.training},
        "weights_digest": run_fingerprint.weights_digest(tmp_path / "generator"),
    }
    write_json(tmp_path / "index.json", index)
    run_fingerprint.write_origin(tmp_path, now)
    return tmp_path, now


def test_empty_folder_is_fresh_and_a_finished_run_is_kept(
    tmp_path_factory: pytest.TempPathFactory, finished: tuple[Path, run_fingerprint.RunFingerprint]
) -> None:
    folder, now = finished
    assert run_fingerprint.decide(tmp_path_factory.mktemp("empty"), now, clips_seen=0).kind == "fresh"
    assert run_fingerprint.decide(folder / "missing", now, clips_seen=0).kind == "fresh"
    assert run_fingerprint.decide(folder, now, clips_seen=100).kind == "finished"


@pytest.mark.parametrize(
    ("change", "kind", "note"),
    [
        ({"training": {"clips": 200, "r1_gamma": 1.0, "checkpoints_kept": 3}}, "resume", None),
        ({"training": {"clips": 100, "r1_gamma": 1.0, "checkpoints_kept": 9}}, "finished", None),
        ({"training": {"clips": 50, "r1_gamma": 1.0, "checkpoints_kept": 3}}, "replace", "training.clips=50 is less"),
        (
            {"training": {"clips": 100, "r1_gamma": 2.0, "checkpoints_kept": 3}},
            "replace",
            "training.r1_gamma was 1.0, is 2.0",
        ),
        ({"model": {"channel_max": 8}}, "replace", "model.channel_max was 4, is 8"),
        ({"data": "other"}, "replace", "data has changed"),
        ({"code": "other"}, "replace", "the code in digan/ has changed"),
        ({"workers": 1}, "finished", None),
    ],
)
def test_changes_resume_or_replace_the_run(
    finished: tuple[Path, run_fingerprint.RunFingerprint], change: dict[str, Any], kind: str, note: str | None
) -> None:
    folder, now = finished
    decision = run_fingerprint.decide(folder, replace(now, **change), clips_seen=100)
    assert decision.kind == kind
    assert note is None or any(note in line for line in decision.notes)


def test_unfinished_run_resumes_with_changed_code_and_a_note(
    finished: tuple[Path, run_fingerprint.RunFingerprint],
) -> None:
    folder, now = finished
    (folder / "index.json").unlink()
    decision = run_fingerprint.decide(folder, replace(now, code="other", workers=4), clips_seen=40)
    assert decision.kind == "resume" and len(decision.notes) == 2


def test_run_with_a_damaged_generator_resumes(finished: tuple[Path, run_fingerprint.RunFingerprint]) -> None:
    folder, now = finished
    (folder / "generator/weights.pt").write_text("cut")
    assert run_fingerprint.decide(folder, now, clips_seen=100).kind == "resume"


def test_moving_aside_keeps_a_trained_generator(finished: tuple[Path, run_fingerprint.RunFingerprint]) -> None:
    folder, _ = finished
    previous = run_fingerprint.move_aside(folder)
    assert previous is not None and (previous / "generator/weights.pt").exists() and not folder.exists()
    folder.mkdir()
    (folder / "origin.json").touch()
    assert run_fingerprint.move_aside(folder) is None
    assert (previous / "generator/weights.pt").exists()


def test_fingerprint_survives_json(tmp_path: Path) -> None:
    now = run_fingerprint.RunFingerprint(
        training=asdict(load(ROOT / "params.yaml").training),
        model={"classes": 0, "drift": 0},
        data="d",
        code="c",
        workers=2,
    )
    run_fingerprint.write_origin(tmp_path, now)
    assert run_fingerprint.read_origin(tmp_path) == now


def test_run_begun_before_drift_existed_resumes_without_drift(
    finished: tuple[Path, run_fingerprint.RunFingerprint],
) -> None:
    folder, now = finished
    (folder / "index.json").unlink()
    write_json(folder / "origin.json", asdict(replace(now, model={"classes": 0})))
    assert (
        run_fingerprint.decide(folder, replace(now, model={"classes": 0, "drift": 0}), clips_seen=40).kind == "resume"
    )
    assert (
        run_fingerprint.decide(folder, replace(now, model={"classes": 0, "drift": 1}), clips_seen=40).kind == "replace"
    )


def test_run_with_other_or_later_start_weights_is_another_run(
    finished: tuple[Path, run_fingerprint.RunFingerprint],
) -> None:
    folder, now = finished  # recorded before training.start_from existed: random weights
    random, other = (
        replace(now, training={**now.training, "start_from": text}) for text in ("", "models:/sky@champion")
    )
    assert run_fingerprint.decide(folder, random, clips_seen=100).kind == "finished"
    decision = run_fingerprint.decide(folder, other, clips_seen=100)
    assert decision.kind == "replace" and "training.start_from was ''" in decision.notes[0]


def test_run_begun_before_the_rename_resumes(finished: tuple[Path, run_fingerprint.RunFingerprint]) -> None:
    """origin.json then had the key ``mirror`` for ``horizontal_flip``."""
    folder, now = finished
    (folder / "index.json").unlink()
    write_json(folder / "origin.json", asdict(replace(now, training={**now.training, "mirror": True})))
    now = replace(now, training={**now.training, "horizontal_flip": True})
    assert run_fingerprint.decide(folder, now, clips_seen=40).kind == "resume"
    flipless = replace(now, training={**now.training, "horizontal_flip": False})
    assert run_fingerprint.decide(folder, flipless, clips_seen=40).kind == "replace"
