"""A trial of a sweep: runs one training in a process that Tune starts, and reports the objective at its checkpoints.

It resumes from its folder: a trial whose process or cluster was killed repeats only the training after its last checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from ray import tune

from digan.atomic import replacing, write_json
from digan.errors import UserError
from digan.training.config import TrainingConfig
from pipelines.cluster.training_driver import TrainingAbortedError, TrainingSections, TrialHooks, train
from pipelines.evaluation.config import EvaluationConfig
from pipelines.registry import start_address
from pipelines.sweeps import mlflow_runs, objective
from pipelines.sweeps.config import SweepConfig
from pipelines.sweeps.sweep_driver import CLIPS, NUMBER, OBJECTIVE
from pipelines.tracking import runs
from pipelines.training_run import run_fingerprint
from pipelines.training_run.training_log import LOG, repair_log
from pipelines.training_run.worker_messages import TrialMeasured

PATIENCE = 60.0  # seconds to wait until an earlier process of the trial has ended, or until Tune ends this one
SOURCE = "trial.json"  # next to a checkpoint that another trial may exploit: which trial wrote it
EXPLOITED = "adopted.json"  # in a trial's folder: the checkpoint of another trial that it continued from last


class SweepSections(TrainingSections, Protocol):
    """The sections of params.yaml that a sweep and its trainings use: a frozen dataclass that checks itself."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def evaluation(self) -> EvaluationConfig: ...
    @property
    def tune(self) -> SweepConfig: ...


Sections = TypeVar("Sections", bound=SweepSections)


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """What is sent to all trials. ``identity`` and ``tags`` are tags of their MLflow runs, ``keeper`` a ``PlacementKeeper``."""

    sections: SweepSections
    folder: Path
    objective: objective.Objective
    metric: str
    identity: dict[str, str]
    tags: dict[str, str]
    keeper: Any


class TrialFailedError(Exception):
    """The trial has failed in a way that a restart cannot repair."""


def for_trial(sections: Sections, values: Mapping[str, Any]) -> Sections:
    """Return the sections of a trial: ``values`` by dotted name, and the trial's length, intervals and workers."""
    tune, length = sections.tune, trial_length(sections)
    changes: dict[str, dict[str, Any]] = {
        "training": {
            "clips": length,
            "checkpoint_interval": tune.grace_period,
            "sample_interval": length,
            "snapshot_interval": length,
            "on_divergence": "stop",  # the trial has failed; the sweep continues
        },
        "cluster": {"workers": tune.workers},
        "tune": {"space": {}},
    }
    for name, value in values.items():
        section, _, key = name.partition(".")
        changes.setdefault(section, {})[key] = value
    return replace(sections, **{name: replace(getattr(sections, name), **part) for name, part in changes.items()})


def trial_length(sections: SweepSections) -> int:
    """Return the number of clips of a trial that runs to its end."""
    return sections.tune.clips or sections.training.clips


def trainable(context: SweepContext) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs; Tune names the trials after it."""

    def digan(config: dict[str, Any]) -> None:
        trial = _Trial(config, context)
        try:
            trial.train()
            trial.report_end()
        except (UserError, TrialFailedError, TrainingAbortedError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            trial.report_failure(f"{lines[0]}: {lines[-1]}" if isinstance(error, TrainingAbortedError) else lines[0])

    return digan


class _Trial:
    """Trains with the values that Tune chose and reports measurements to Tune and MLflow."""

    def __init__(self, config: dict[str, Any], context: SweepContext) -> None:
        self.config, self.context, self.length = config, context, trial_length(context.sections)
        self.values = {name: value for name, value in config.items() if name != NUMBER}
        self.folder = context.folder / "trials" / f"{config[NUMBER]:03d}"
        self.output, self.measures = self.folder / "train", self.folder / objective.MEASURES
        self.population = context.sections.tune.scheduler == "pbt"  # trials exploit each other's checkpoints
        self.run_id, self.exploited = "", dict[str, str]()
        self.reported: set[int] = set()

    def train(self) -> None:
        """Train until the end, or until the scheduler stops the trial."""
        sections = for_trial(self.context.sections, self.values)
        with run_fingerprint.sole_writer(self.output, wait=PATIENCE):
            pass  # an earlier process of the trial has ended
        if self.population and (given := tune.get_checkpoint()):
            exploited = self._exploit(given, sections.training)
            self.exploited = {"exploited": json.dumps(exploited)} if exploited else {}
        number, run_file = self.folder.name, self.folder / mlflow_runs.RUN_FILE
        identity = {**self.context.identity, mlflow_runs.NUMBER: number}
        tags = {**self.context.tags, "mlflow.runName": f"trial-{number}"}
        self.run_id = runs.open_run(sections.tracking, {}, tags, run_file, identity=identity)
        last = objective.last(self.measures)  # of an earlier launch; the driver may not have received it
        if last and last[CLIPS] < self.length and (self.output / "checkpoints" / f"{last[CLIPS]:010d}").is_dir():
            self._report(last[CLIPS], last)
        hooks = TrialHooks(
            objective=replace(self.context.objective, folder=str(self.measures)),
            on_started=lambda started: self.context.keeper.hold.remote(os.getpid(), started.placement),
            on_measured=self.on_measured,
            gpu_share=sections.tune.gpu_share,
            run_file=run_file,
        )
        train(
            sections,
            shards=Path(self.context.objective.shards),
            output=self.output,
            trial=hooks,
            start=start_address.load,
        )

    def on_measured(self, message: TrialMeasured) -> None:
        """Report a measured checkpoint; the last one is reported by ``report_end``."""
        clips, value = message.clips_seen, message.values["objective"]
        if not math.isfinite(value):
            raise TrialFailedError(f"nan: the generator's videos cannot be measured at {clips} clips")
        points = {f"{mlflow_runs.QUICK}/{self.context.metric}": value}
        if self.population:
            points |= {f"params/{k}": float(v) for k, v in self.values.items() if isinstance(v, int | float)}
        runs.log_metrics(self.context.sections.tracking, self.run_id, points, clips)
        if clips < self.length and clips not in self.reported:
            self._report(clips, message.values)

    def report_end(self) -> None:
        last = objective.last(self.measures)
        if not last or last[CLIPS] < self.length:
            raise TrialFailedError("the training ended without a measurement of its last checkpoint")
        self._report(last[CLIPS], last, finished=True)

    def report_failure(self, reason: str) -> None:
        self._report(int(repair_log(self.output / LOG).get(CLIPS, 0)), {}, failed=reason)

    def _report(self, clips_seen: int, values: dict[str, Any], **end: Any) -> None:
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
            tune.report(result, checkpoint=self._checkpoint(clips_seen) if self.population and not end else None)
        except SystemExit:  # Tune stops the trial: it ends this process, and the driver closes the run in MLflow
            time.sleep(PATIENCE)
            raise

    def _checkpoint(self, clips_seen: int) -> Any:
        """Copy a checkpoint of the training for Tune, which may pass it to another trial."""
        copy, name = self.folder / "hand", f"{clips_seen:010d}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.output / "checkpoints" / name, copy / name)
        (copy / SOURCE).write_text(json.dumps({"trial": self.config[NUMBER], "clips_seen": clips_seen}))
        return tune.Checkpoint.from_directory(copy)

    def _exploit(self, given: Any, training: TrainingConfig) -> dict[str, Any] | None:
        """Replace the trial's checkpoints by one of another trial, unless an earlier launch did so, and return its origin."""
        path = self.folder / EXPLOITED
        with given.as_directory() as source_folder:
            source = json.loads((Path(source_folder) / SOURCE).read_text())
            if source["trial"] == self.config[NUMBER]:
                return None
            exploited = {**source, "uid": Path(given.path).as_posix(), "values": self.config}
            before = json.loads(path.read_text()) if path.is_file() else None
            if before and before["uid"] == exploited["uid"]:
                return before
            name = f"{source[CLIPS]:010d}"
            with replacing(self.output / "checkpoints") as part:
                shutil.copytree(Path(source_folder) / name, part / name)
        for measure in self.measures.glob("*.json"):
            if int(measure.stem) >= source[CLIPS]:
                measure.unlink()
        if fingerprint := run_fingerprint.read_origin(self.output):
            run_fingerprint.write_origin(self.output, replace(fingerprint, training=asdict(training)))
        write_json(path, exploited)
        return exploited
