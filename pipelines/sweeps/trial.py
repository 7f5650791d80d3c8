"""A trial of a sweep: drives one training in a process that Tune starts, and reports the objective at its checkpoints.

It resumes from what its folder holds, so a trial whose process or cluster was killed repeats only what came after its last
checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digan.atomic import replacing, write_json
from digan.errors import UserError
from digan.training.config import TrainingConfig
from pipelines.cluster import training_driver
from pipelines.sweeps import mlflow_runs, objective
from pipelines.sweeps.sweep_driver import CLIPS, NUMBER, OBJECTIVE
from pipelines.sweeps.sweep_state import ADOPTED
from pipelines.sweeps.trial_config import SweepSections, for_trial, trial_length
from pipelines.tracking import runs
from pipelines.training_run import run_fingerprint
from pipelines.training_run.training_log import LOG, repair_log
from pipelines.training_run.worker_messages import TrialMeasured

PATIENCE = 60.0  # seconds to wait until an earlier process of the trial has ended, or until Tune ends this one
SOURCE = "trial.json"  # beside a checkpoint that another trial may adopt: which trial wrote it


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """What the trials of a sweep share; it is sent to their processes."""

    sections: SweepSections
    shards: str
    folder: str
    reference: str
    metric: str
    sweep_id: str
    parent: str
    tags: dict[str, str]
    keeper: Any = None  # the actor of placement_keeper.py

    @property
    def population(self) -> bool:
        """Whether trials adopt each other's checkpoints."""
        return self.sections.tune.scheduler == "pbt"

    def trial_folder(self, number: int) -> Path:
        """The folder with everything that a trial writes."""
        return Path(self.folder) / "trials" / f"{number:03d}"


class TrialFailedError(Exception):
    """The trial has failed in a way that a restart cannot repair."""


def trainable(setting: SweepContext) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs."""

    def digan(config: dict[str, Any]) -> None:
        run(config, setting)

    return digan


def run(config: dict[str, Any], setting: SweepContext) -> None:
    """Train with a trial's values until the end, or until the scheduler stops the trial."""
    from ray import tune

    number = config[NUMBER]
    values = {name: value for name, value in config.items() if name != NUMBER}
    folder = setting.trial_folder(number)
    reporter = _Reporter(number, values, setting)
    try:
        sections = for_trial(setting.sections, values)
        output = folder / "train"
        _await_folder(output)
        adopted = _adopt(tune.get_checkpoint(), config, sections.training, folder) if setting.population else None
        tracked = sections.tracking
        identity = {
            mlflow_runs.SWEEP_ID: setting.sweep_id,
            mlflow_runs.NUMBER: f"{number:03d}",
            mlflow_runs.PARENT: setting.parent,
        }
        run_id = mlflow_runs.ensure(
            tracked, identity, f"trial-{number:03d}", folder / mlflow_runs.RUN_FILE, setting.tags
        )
        reporter.common = {"run_id": run_id, **({"adopted": json.dumps(adopted)} if adopted else {})}
        reporter.repeat_last()
        hooks = training_driver.TrialHooks(
            objective=objective.Objective(
                config=objective.quick(sections.evaluation, sections.tune.videos),
                shards=setting.shards,
                reference=setting.reference,
                folder=str(folder / objective.MEASURES),
            ),
            on_started=lambda started: setting.keeper.hold.remote(os.getpid(), started.placement),
            on_measured=reporter.on_measured,
            gpu_share=sections.tune.gpu_share,
            run_file=folder / mlflow_runs.RUN_FILE,
        )
        training_driver.train(sections.training_job(), shards=Path(setting.shards), output=output, trial=hooks)
        reporter.whole()
    except (UserError, TrialFailedError, training_driver.TrainingAbortedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        aborted = isinstance(error, training_driver.TrainingAbortedError)
        reporter.failed(f"{lines[0]}: {lines[-1]}" if aborted else lines[0])


class _Reporter:
    """Reports a training's measurements to Tune and MLflow; ``common`` is part of every result."""

    def __init__(self, number: int, values: dict[str, Any], setting: SweepContext) -> None:
        self.number, self.values, self.setting = number, values, setting
        self.length = trial_length(setting.sections)
        self.train_folder = setting.trial_folder(number) / "train"
        self.common: dict[str, Any] = {}
        self.reported: set[int] = set()

    def measured(self) -> list[dict[str, Any]]:
        """All measurements of the trial, those of earlier launches included."""
        return objective.measured(self.train_folder.parent / objective.MEASURES)

    def repeat_last(self) -> None:
        """Report the last measurement of earlier launches, which the driver may not have received."""
        for measure in self.measured()[-1:]:
            kept = (self.train_folder / "checkpoints" / f"{measure[CLIPS]:010d}").is_dir()
            if measure[CLIPS] < self.length and kept:
                self._report(measure[CLIPS], measure)

    def on_measured(self, message: TrialMeasured) -> None:
        """Report a measured checkpoint; the last one is reported by ``whole``."""
        if not math.isfinite(message.values["objective"]):
            raise TrialFailedError(f"nan: the generator's videos cannot be measured at {message.clips_seen} clips")
        self._track(message)
        if message.clips_seen < self.length and message.clips_seen not in self.reported:
            self._report(message.clips_seen, message.values)

    def whole(self) -> None:
        """Report the last checkpoint of a training that has reached its end."""
        last = self.measured()[-1:]
        if not last or last[0][CLIPS] < self.length:
            raise TrialFailedError("the training ended without a measurement of its last checkpoint")
        self._report(last[0][CLIPS], last[0], whole=True)

    def failed(self, reason: str) -> None:
        """Report that the trial has failed."""
        self._report(int(repair_log(self.train_folder / LOG).get(CLIPS, 0)), {}, failed=reason)

    def _report(self, clips_seen: int, values: dict[str, Any], **more: Any) -> None:
        from ray import tune

        self.reported.add(clips_seen)
        log = repair_log(self.train_folder / LOG)
        result = {
            CLIPS: clips_seen,
            OBJECTIVE: values.get("objective", math.nan),
            "measure_seconds": values.get("seconds", 0.0),
            "trained": max(clips_seen, int(log.get(CLIPS, 0))),
            "training_seconds": float(log.get("seconds", 0.0)),
            **self.common,
            **more,
        }
        try:
            if self.setting.population and not more:
                tune.report(result, checkpoint=_state(self.train_folder, self.number, clips_seen))
            else:
                tune.report(result)
        except SystemExit:  # Tune stops the trial: it ends this process, and the driver closes the run in MLflow
            time.sleep(PATIENCE)
            raise

    def _track(self, message: TrialMeasured) -> None:
        points = {f"{mlflow_runs.QUICK}/{self.setting.metric}": message.values["objective"]}
        if self.setting.population:
            numbers = {k: float(v) for k, v in self.values.items() if isinstance(v, int | float)}
            points |= {f"params/{name}": value for name, value in numbers.items()}
        runs.log_metrics(self.setting.sections.tracking, self.common["run_id"], points, message.clips_seen)


def _state(train_folder: Path, number: int, clips_seen: int) -> Any:
    """Copy a checkpoint of the training for Tune, which may pass it to another trial."""
    from ray.tune import Checkpoint

    folder = train_folder.parent / "hand"
    shutil.rmtree(folder, ignore_errors=True)
    name = f"{clips_seen:010d}"
    shutil.copytree(train_folder / "checkpoints" / name, folder / name)
    (folder / SOURCE).write_text(json.dumps({"trial": number, "clips_seen": clips_seen}))
    return Checkpoint.from_directory(folder)


def _adopt(given: Any, config: dict[str, Any], training: TrainingConfig, folder: Path) -> dict[str, Any] | None:
    """Replace the trial's checkpoints by one of another trial that Tune gives, unless that was done by an earlier launch.

    The training's folder then counts as begun with the trial's new values. Returns what was adopted, ``None`` for nothing.
    """
    if given is None:
        return None
    output = folder / "train"
    with given.as_directory() as path:
        source = json.loads((Path(path) / SOURCE).read_text())
        if source["trial"] == config[NUMBER]:
            return None
        adopted = {**source, "uid": Path(given.path).as_posix(), "values": config}
        before = json.loads((folder / ADOPTED).read_text()) if (folder / ADOPTED).is_file() else None
        if before and before["uid"] == adopted["uid"]:
            return before
        name = f"{source[CLIPS]:010d}"
        with replacing(output / "checkpoints") as part:
            shutil.copytree(Path(path) / name, part / name)
    for measure in (folder / objective.MEASURES).glob("*.json"):
        if int(measure.stem) >= source[CLIPS]:
            measure.unlink()
    begun = run_fingerprint.read_origin(output)
    if begun is not None:
        run_fingerprint.write_origin(output, replace(begun, training=asdict(training)))
    write_json(folder / ADOPTED, adopted)
    return adopted


def _await_folder(folder: Path) -> None:
    """Wait until an earlier process of the trial has released the training's folder."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with run_fingerprint.sole_writer(folder):
                return
        except UserError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
