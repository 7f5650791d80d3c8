"""A trial of a sweep: runs one training in a process that Tune starts, and reports the objective at its checkpoints.

It resumes from its folder: a trial whose process or cluster was killed repeats only the training after its last checkpoint.
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
from pipelines.sweeps.trial_config import SweepSections, for_trial, trial_length
from pipelines.tracking import runs
from pipelines.training_run import run_fingerprint
from pipelines.training_run.training_log import LOG, repair_log
from pipelines.training_run.worker_messages import TrialMeasured

PATIENCE = 60.0  # seconds to wait until an earlier process of the trial has ended, or until Tune ends this one
SOURCE = "trial.json"  # next to a checkpoint that another trial may exploit: which trial wrote it
EXPLOITED = "adopted.json"  # in a trial's folder: the checkpoint of another trial that it continued from last


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """What the trials of a sweep share; it is sent to their processes.

    ``identity`` and ``tags`` are tags of their MLflow runs, ``keeper`` is the actor of placement_keeper.py.
    """

    sections: SweepSections
    folder: Path
    objective: objective.Objective
    metric: str
    identity: dict[str, str]
    tags: dict[str, str]
    keeper: Any

    @property
    def population(self) -> bool:
        """Whether trials exploit each other's checkpoints."""
        return self.sections.tune.scheduler == "pbt"


class TrialFailedError(Exception):
    """The trial has failed in a way that a restart cannot repair."""


def trainable(context: SweepContext) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs; Tune names the trials after it."""

    def digan(config: dict[str, Any]) -> None:
        reporter = _Reporter(config, context)
        try:
            _train(config, context, reporter)
            reporter.finished()
        except (UserError, TrialFailedError, training_driver.TrainingAbortedError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            aborted = isinstance(error, training_driver.TrainingAbortedError)
            reporter.failed(f"{lines[0]}: {lines[-1]}" if aborted else lines[0])

    return digan


def _train(config: dict[str, Any], context: SweepContext, reporter: _Reporter) -> None:
    """Train with a trial's values until the end, or until the scheduler stops the trial."""
    from ray import tune

    sections, folder, output = for_trial(context.sections, reporter.values), reporter.folder, reporter.output
    _await_folder(output)
    exploited = _exploit(tune.get_checkpoint(), config, sections.training, folder) if context.population else None
    number, run_file = f"{config[NUMBER]:03d}", folder / mlflow_runs.RUN_FILE
    identity = {**context.identity, mlflow_runs.NUMBER: number}
    reporter.run_id = mlflow_runs.ensure(sections.tracking, identity, f"trial-{number}", run_file, context.tags)
    reporter.exploited = {"exploited": json.dumps(exploited)} if exploited else {}
    reporter.repeat_last()
    hooks = training_driver.TrialHooks(
        objective=replace(context.objective, folder=str(folder / objective.MEASURES)),
        on_started=lambda started: context.keeper.hold.remote(os.getpid(), started.placement),
        on_measured=reporter.on_measured,
        gpu_share=sections.tune.gpu_share,
        run_file=run_file,
    )
    training_driver.train(sections, shards=Path(context.objective.shards), output=output, trial=hooks)


class _Reporter:
    """Reports a training's measurements to Tune and MLflow."""

    def __init__(self, config: dict[str, Any], context: SweepContext) -> None:
        self.number, self.context, self.length = config[NUMBER], context, trial_length(context.sections)
        self.values = {name: value for name, value in config.items() if name != NUMBER}
        self.folder = context.folder / "trials" / f"{self.number:03d}"
        self.output = self.folder / "train"
        self.run_id, self.exploited = "", dict[str, str]()
        self.reported: set[int] = set()

    def last(self) -> dict[str, Any] | None:
        """Return the last measurement of this or an earlier launch."""
        return next(reversed(objective.measured(self.folder / objective.MEASURES)), None)

    def repeat_last(self) -> None:
        """Report the last measurement of earlier launches, which the driver may not have received."""
        last = self.last()
        if last and last[CLIPS] < self.length and (self.output / "checkpoints" / f"{last[CLIPS]:010d}").is_dir():
            self._report(last[CLIPS], last)

    def on_measured(self, message: TrialMeasured) -> None:
        """Report a measured checkpoint; the last one is reported by ``finished``."""
        clips, value = message.clips_seen, message.values["objective"]
        if not math.isfinite(value):
            raise TrialFailedError(f"nan: the generator's videos cannot be measured at {clips} clips")
        points = {f"{mlflow_runs.QUICK}/{self.context.metric}": value}
        if self.context.population:
            points |= {f"params/{k}": float(v) for k, v in self.values.items() if isinstance(v, int | float)}
        runs.log_metrics(self.context.sections.tracking, self.run_id, points, clips)
        if clips < self.length and clips not in self.reported:
            self._report(clips, message.values)

    def finished(self) -> None:
        """Report the last checkpoint of a training that has reached its end."""
        last = self.last()
        if not last or last[CLIPS] < self.length:
            raise TrialFailedError("the training ended without a measurement of its last checkpoint")
        self._report(last[CLIPS], last, finished=True)

    def failed(self, reason: str) -> None:
        """Report that the trial has failed."""
        self._report(int(repair_log(self.output / LOG).get(CLIPS, 0)), {}, failed=reason)

    def _report(self, clips_seen: int, values: dict[str, Any], **end: Any) -> None:
        from ray import tune

        self.reported.add(clips_seen)
        log = repair_log(self.output / LOG)
        result = {
            CLIPS: clips_seen,
            OBJECTIVE: values.get("objective", math.nan),
            "measure_seconds": values.get("seconds", 0.0),
            "trained": max(clips_seen, int(log.get(CLIPS, 0))),
            "training_seconds": float(log.get("seconds", 0.0)),
            "run_id": self.run_id,
            **self.exploited,
            **end,
        }
        try:
            tune.report(
                result, checkpoint=self._checkpoint(clips_seen) if self.context.population and not end else None
            )
        except SystemExit:  # Tune stops the trial: it ends this process, and the driver closes the run in MLflow
            time.sleep(PATIENCE)
            raise

    def _checkpoint(self, clips_seen: int) -> Any:
        """Copy a checkpoint of the training for Tune, which may pass it to another trial."""
        from ray.tune import Checkpoint

        copy, name = self.folder / "hand", f"{clips_seen:010d}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.output / "checkpoints" / name, copy / name)
        (copy / SOURCE).write_text(json.dumps({"trial": self.number, "clips_seen": clips_seen}))
        return Checkpoint.from_directory(copy)


def _exploit(given: Any, config: dict[str, Any], training: TrainingConfig, folder: Path) -> dict[str, Any] | None:
    """Replace the trial's checkpoints by one of another trial that Tune passes, unless an earlier launch has done so.

    The run fingerprint then holds the trial's new values. Returns what was exploited, or ``None``.
    """
    if given is None:
        return None
    output, path = folder / "train", folder / EXPLOITED
    with given.as_directory() as source_folder:
        source = json.loads((Path(source_folder) / SOURCE).read_text())
        if source["trial"] == config[NUMBER]:
            return None
        exploited = {**source, "uid": Path(given.path).as_posix(), "values": config}
        before = json.loads(path.read_text()) if path.is_file() else None
        if before and before["uid"] == exploited["uid"]:
            return before
        name = f"{source[CLIPS]:010d}"
        with replacing(output / "checkpoints") as part:
            shutil.copytree(Path(source_folder) / name, part / name)
    for measure in (folder / objective.MEASURES).glob("*.json"):
        if int(measure.stem) >= source[CLIPS]:
            measure.unlink()
    fingerprint = run_fingerprint.read_origin(output)
    if fingerprint is not None:
        run_fingerprint.write_origin(output, replace(fingerprint, training=asdict(training)))
    write_json(path, exploited)
    return exploited


def _await_folder(folder: Path) -> None:
    """Wait until an earlier process of the trial has released the training's folder."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with run_fingerprint.sole_writer(folder):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
